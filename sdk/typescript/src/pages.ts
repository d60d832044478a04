/** Lists that come in pages, read as one. */

/** An answer that may have another one behind it. */
export interface Page {
  readonly nextPageToken: string;
}

/** Yield the entries of all pages; the next page is fetched when it is needed. */
export async function* entriesOfPages<P extends Page, Entry>(
  fetch: (pageToken: string) => Promise<P>,
  entries: (page: P) => Iterable<Entry>,
): AsyncGenerator<Entry, void, undefined> {
  let pageToken = "";
  do {
    const page = await fetch(pageToken);
    yield* entries(page);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}
