/** Files the server makes: invoices and exports. */

import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { DownloadCorruptError } from "./errors.js";

/** How a server describes a file it is about to send. */
export interface AnnouncedFile {
  readonly fileName: string;
  readonly contentType: string;
  /** Lower-case hexadecimal; absent for files that are made while they are sent. */
  readonly sha256?: string;
}

/** A part of such a file: first its description, then its bytes. */
export interface FilePart {
  readonly part:
    | { readonly case: "file"; readonly value: AnnouncedFile }
    | { readonly case: "chunk"; readonly value: Uint8Array }
    | { readonly case: undefined; readonly value?: undefined };
}

/** A file as it came. */
export class DownloadedFile {
  readonly fileName: string;
  readonly contentType: string;
  readonly data: Uint8Array;

  constructor(file: AnnouncedFile, data: Uint8Array) {
    this.fileName = file.fileName;
    this.contentType = file.contentType;
    this.data = data;
  }

  /** Write it under the last part of its own name; return where. */
  async save(folder: string): Promise<string> {
    // The server names the file; it does not choose the folder.
    const path = join(folder, basename(this.fileName));
    await writeFile(path, this.data);
    return path;
  }
}

/**
 * Read a file from a stream, checked against its hash where it has one.
 *
 * @throws {@link DownloadCorruptError} it is not what was announced.
 */
export async function readFileParts(parts: AsyncIterable<FilePart>): Promise<DownloadedFile> {
  let file: AnnouncedFile | undefined;
  const chunks: Uint8Array[] = [];
  for await (const { part } of parts) {
    if (part.case === "file") {
      file = part.value;
    } else if (part.case === "chunk") {
      chunks.push(part.value);
    }
  }
  if (file === undefined) {
    throw new DownloadCorruptError("the server sent no description of the file");
  }
  const data = Buffer.concat(chunks);
  if (file.sha256 && createHash("sha256").update(data).digest("hex") !== file.sha256) {
    throw new DownloadCorruptError("the file's bytes do not match their SHA-256");
  }
  return new DownloadedFile(file, data);
}
