/**
 * A payload that comes in pieces, kept until it can be sent: its digest and
 * its size have to be known before, and it may have to be sent twice.
 *
 * @module
 */

import { piecesOf, type Readable, writeFrom } from "../files/durable_fs.ts";
import { Sha256 } from "../files/hash.ts";
import type { PayloadSource } from "./contracts.ts";

/** What is larger waits in a file, in the system's folder for such. */
const IN_MEMORY = 4 * 1024 * 1024;

/** A payload that is whole. */
export interface Spooled extends AsyncDisposable {
  /** To be sent from. */
  source: PayloadSource;
  /** SHA-256 in hex. */
  digest: string;
  /** Size in bytes. */
  size: number;
}

/**
 * Takes in a payload. What is larger than is held needs `--allow-write` and
 * `--allow-read` for the system's temporary folder.
 *
 * @param inMemory Up to so many bytes are held.
 */
export async function spool(
  chunks: AsyncIterable<Uint8Array>,
  inMemory: number = IN_MEMORY,
): Promise<Spooled> {
  const iterator = chunks[Symbol.asyncIterator]();
  const held: Uint8Array[] = [];
  let size = 0;
  const hash = new Sha256();
  while (size <= inMemory) {
    const { done, value } = await iterator.next();
    if (done) {
      const source = joined(held, size);
      const digest = hash.hex();
      return { source, digest, size, async [Symbol.asyncDispose]() {} };
    }
    // A copy: the producer's buffer is the producer's again.
    held.push(new Uint8Array(value));
    hash.update(value);
    size += value.length;
  }
  return await spoolToFile(async function* () {
    yield* held.splice(0);
    yield* { [Symbol.asyncIterator]: () => iterator };
  }());
}

async function spoolToFile(
  chunks: AsyncIterable<Uint8Array>,
): Promise<Spooled> {
  const file = await NamelessFile.make();
  try {
    const { digest, size } = await writeFrom(file.file, chunks);
    const source = { size, open: () => piecesOf(file.reader()) };
    const end = () => file[Symbol.asyncDispose]();
    return { source, digest, size, [Symbol.asyncDispose]: end };
  } catch (error) {
    await file[Symbol.asyncDispose]();
    throw error;
  }
}

/**
 * A file that has lost its name as soon as it was open, so that nothing is left
 * of it when the process is killed; where the system refuses that, it keeps its
 * name until it is closed.
 */
class NamelessFile implements AsyncDisposable {
  readonly file: Deno.FsFile;
  readonly #path: string;
  #hasName: boolean;
  /** Settles when nobody reads: readers share one position. */
  #read: Promise<unknown> = Promise.resolve();

  private constructor(file: Deno.FsFile, path: string) {
    this.file = file;
    this.#path = path;
    this.#hasName = !tryRemove(path);
  }

  static async make(): Promise<NamelessFile> {
    const path = await Deno.makeTempFile({ prefix: "poh-" });
    try {
      const file = await Deno.open(path, { read: true, write: true });
      return new NamelessFile(file, path);
    } catch (error) {
      tryRemove(path);
      throw error;
    }
  }

  /** Reads all of it, from its beginning, whoever else does so as well. */
  reader(): Readable {
    let at = 0;
    const next = async (buffer: Uint8Array) => {
      this.file.seekSync(at, Deno.SeekMode.Start);
      const read = await this.file.read(buffer);
      at += read ?? 0;
      return read;
    };
    const read = (buffer: Uint8Array) => {
      const reading = this.#read.then(() => next(buffer));
      this.#read = reading.catch(() => {});
      return reading;
    };
    return { read, close() {} };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#read;
    this.file.close();
    if (this.#hasName) tryRemove(this.#path);
  }
}

function tryRemove(path: string): boolean {
  try {
    Deno.removeSync(path);
    return true;
  } catch {
    return false;
  }
}

function joined(pieces: Uint8Array[], size: number): Uint8Array {
  if (pieces.length === 1) return pieces[0]!;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
