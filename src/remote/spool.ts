/**
 * A payload that comes in pieces, kept until it can be sent: its digest and
 * its size have to be known before, and it may have to be sent twice.
 *
 * @module
 */

import { createFileFrom, openRegular, piecesOf } from "../durable_fs.ts";
import { Sha256 } from "../hash.ts";
import type { PayloadSource } from "./contracts.ts";

/** What is larger waits in a file, in the system's folder for such. */
const IN_MEMORY = 4 * 1024 * 1024;

/** A payload that is whole. */
export interface Spooled extends Disposable {
  /** To be sent from. */
  source: PayloadSource;
  /** SHA-256 in hex. */
  digest: string;
  /** Size in bytes. */
  size: number;
}

/**
 * Takes in a payload. What is larger than 4 MiB needs `--allow-write` and
 * `--allow-read` for the system's temporary folder.
 */
export async function spool(
  chunks: AsyncIterable<Uint8Array>,
): Promise<Spooled> {
  const iterator = chunks[Symbol.asyncIterator]();
  const held: Uint8Array[] = [];
  let size = 0;
  const hash = new Sha256();
  while (size <= IN_MEMORY) {
    const { done, value } = await iterator.next();
    if (done) {
      const source = joined(held, size);
      return { source, digest: hash.hex(), size, [Symbol.dispose]() {} };
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
  const folder = await Deno.makeTempDir({ prefix: "poh-" });
  const remove = () => Deno.removeSync(folder, { recursive: true });
  const path = `${folder}/payload`;
  try {
    const { digest, size } = await createFileFrom(path, chunks, false);
    const open = () => {
      const opened = openRegular(path);
      if (!opened) throw new Deno.errors.NotFound(`${path} is gone`);
      return piecesOf(opened.file);
    };
    return { source: { size, open }, digest, size, [Symbol.dispose]: remove };
  } catch (error) {
    remove();
    throw error;
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
