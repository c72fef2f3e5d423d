/**
 * Lines that wait until all of them are there: few of them in memory, many in a
 * file.
 *
 * @module
 */

import { join } from "@std/path";
import { makeDir, removeFileSync, writeAllSync } from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";

/** More bytes than this wait in a file. */
const IN_MEMORY = 1024 * 1024;

/** Read back at a time. */
const PIECE = 64 * 1024;

/** Keeps lines until they are read, or dropped. */
export class Spool implements Disposable {
  readonly #base: string;
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #path: string | null = null;
  #file: Deno.FsFile | null = null;

  /** In the temporary folder of a base, which recovery empties. */
  constructor(basePath: string) {
    this.#base = basePath;
  }

  /** Appends a line, which has no line feed in it. */
  async add(line: string): Promise<void> {
    const bytes = new TextEncoder().encode(`${line}\n`);
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    if (this.#heldBytes <= IN_MEMORY) return;
    this.#file ??= await this.#make();
    for (const piece of this.#held) writeAllSync(this.#file, piece);
    this.#held = [];
    this.#heldBytes = 0;
  }

  async #make(): Promise<Deno.FsFile> {
    const dir = tmpPath(this.#base);
    await makeDir(dir, false);
    this.#path = join(dir, `tlog-${crypto.randomUUID()}`);
    const how = { write: true, read: true, createNew: true };
    return await Deno.open(this.#path, how);
  }

  /** Reads all lines, once. */
  async *read(): AsyncGenerator<string> {
    const decoder = new TextDecoder();
    let begun = "";
    for await (const piece of this.#pieces()) {
      const lines = decoder.decode(piece, { stream: true }).split("\n");
      lines[0] = begun + lines[0]!;
      begun = lines.pop()!;
      yield* lines;
    }
  }

  async *#pieces(): AsyncGenerator<Uint8Array> {
    if (this.#file) {
      await this.#file.seek(0, Deno.SeekMode.Start);
      const buffer = new Uint8Array(PIECE);
      for (let count; (count = await this.#file.read(buffer)) !== null;) {
        yield buffer.subarray(0, count);
      }
    }
    yield* this.#held;
  }

  /** Drops what is left. */
  [Symbol.dispose](): void {
    this.#file?.close();
    if (this.#path !== null) removeFileSync(this.#path);
    this.#file = this.#path = null;
    this.#held = [];
  }
}
