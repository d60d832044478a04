/** Finished pictures: their bytes, checked against the hash the server announced. */

import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Image, PictureFile } from "./contract/atelier/v1/image_pb.js";
import { AtelierError, DownloadCorruptError } from "./errors.js";

/** A finished image with its bytes. */
export interface Picture {
  readonly image: Image;
  readonly data: Uint8Array;
}

/** Not every image came; what did is in `pictures`. */
export class ImagesFailedError extends AtelierError {
  readonly pictures: readonly Picture[];
  readonly failedImages: readonly Image[];

  constructor(pictures: readonly Picture[], failedImages: readonly Image[]) {
    const reasons = new Set(failedImages.map((image) => image.failure?.reason || "UNKNOWN"));
    const all = failedImages.length + pictures.length;
    super(
      `${failedImages.length} of ${all} images did not come: ${[...reasons].sort().join(", ")}`,
    );
    this.pictures = pictures;
    this.failedImages = failedImages;
  }
}

/** Counts and hashes what comes, so that a broken download goes on and a wrong one is found. */
export class VerifiedDownload {
  byteCount = 0;
  readonly #hash = createHash("sha256");
  #announced: PictureFile | undefined;

  /** Learn what is to come; after a break it must be the same file. */
  takeFile(file: PictureFile): void {
    if (this.#announced && this.#announced.sha256 !== file.sha256) {
      throw new DownloadCorruptError("the picture changed while it was downloaded");
    }
    this.#announced = file;
  }

  takeChunk(chunk: Uint8Array): void {
    this.byteCount += chunk.length;
    this.#hash.update(chunk);
  }

  /**
   * Check that everything came as announced.
   *
   * @throws {@link DownloadCorruptError} it did not.
   */
  finish(): PictureFile {
    const file = this.#announced;
    if (file === undefined) {
      throw new DownloadCorruptError("the server sent no description of the picture");
    }
    if (BigInt(this.byteCount) !== BigInt(file.byteCount)) {
      throw new DownloadCorruptError(`${this.byteCount} of ${file.byteCount} bytes came`);
    }
    if (this.#hash.digest("hex") !== file.sha256) {
      throw new DownloadCorruptError("the picture's bytes do not match their SHA-256");
    }
    return file;
  }
}

/** Write a file that is either whole or not there at all. */
export async function saveChunks(chunks: AsyncIterable<Uint8Array>, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const unfinished = join(dirname(path), `.${randomBytes(8).toString("hex")}.unfinished`);
  const file = await open(unfinished, "wx");
  try {
    for await (const chunk of chunks) {
      await file.writeFile(chunk);
    }
    await file.close();
    await rename(unfinished, path);
  } catch (error) {
    await file.close().catch(() => undefined);
    await rm(unfinished, { force: true });
    throw error;
  }
}
