/**
 * Bytes that a command reads, from a file or stdin.
 *
 * @module
 */

import { UsageError } from "../format/usage_error.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { requireAccess } from "./permissions.ts";
import type { CommandName } from "./table.ts";
import { concat } from "../format/bytes.ts";

/** Read at a time. */
const CHUNK_BYTES = 64 * 1024;

/** A file or stdin, open for reading once. */
export interface Input extends AsyncIterable<Uint8Array>, Disposable {
  /** Its size in bytes where that is known. */
  readonly size: number | null;
}

/**
 * Opens a file, or stdin by the name `-`. An interruption ends the iteration
 * like the end of the file: whoever reads looks at the signal.
 *
 * @param reuseBuffer Whether each piece may be gone when the next one comes.
 * @throws {UsageError} If there is no such file.
 */
export async function openInput(
  call: Pick<Call<CommandName>, "stdin" | "signal">,
  name: string,
  reuseBuffer = false,
): Promise<Input> {
  if (name === "-") return stdinInput(call.stdin(), call.signal);
  requireAccess(["read"], [name]);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(name);
  } catch (error) {
    throw cannotRead(name, error);
  }
  const { isFile, isDirectory, size } = await file.stat();
  if (isDirectory) {
    file.close();
    throw cannotRead(name, "it is a directory");
  }
  return fileInput(file, isFile ? size : null, call.signal, reuseBuffer);
}

/**
 * All of an input.
 *
 * @throws {UsageError} If it is longer than `limit` bytes.
 */
export async function readBytes(
  input: AsyncIterable<Uint8Array>,
  what: string,
  limit: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const parts = [];
  let size = 0;
  for await (const chunk of input) {
    parts.push(chunk);
    size += chunk.length;
    if (size > limit) {
      throw new UsageError(`${what} is longer than ${limit} bytes`);
    }
  }
  if (signal.aborted) throw new CliError(Exit.interrupted, "Interrupted");
  return concat(parts);
}

/**
 * All of an input as text.
 *
 * @throws {UsageError} If it is longer than `limit` bytes or not UTF-8.
 */
export async function readText(
  input: Input,
  what: string,
  limit: number,
  signal: AbortSignal,
): Promise<string> {
  const bytes = await readBytes(input, what, limit, signal);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${what} is not UTF-8 text`);
  }
}

function cannotRead(name: string, reason: unknown): UsageError {
  const why = reason instanceof Deno.errors.NotFound
    ? "there is no such file"
    : reason instanceof Error
    ? reason.message
    : String(reason);
  return new UsageError(`Cannot read ${name}: ${why}`);
}

function stdinInput(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Input {
  const reader = stream.getReader();
  // Resolves a read that waits for input, as the end of it.
  const stop = () => void reader.cancel().catch(() => {});
  return {
    size: null,
    async *[Symbol.asyncIterator]() {
      signal.addEventListener("abort", stop);
      try {
        while (!signal.aborted) {
          const { done, value } = await reader.read();
          if (done) return;
          yield value;
        }
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
    [Symbol.dispose]: stop,
  };
}

function fileInput(
  file: Deno.FsFile,
  size: number | null,
  signal: AbortSignal,
  reuseBuffer: boolean,
): Input {
  return {
    size,
    async *[Symbol.asyncIterator]() {
      let chunk = new Uint8Array(CHUNK_BYTES);
      while (!signal.aborted) {
        if (!reuseBuffer) chunk = new Uint8Array(CHUNK_BYTES);
        const read = await file.read(chunk);
        if (read === null) return;
        yield chunk.subarray(0, read);
      }
    },
    [Symbol.dispose]: () => file.close(),
  };
}
