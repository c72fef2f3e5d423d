/**
 * Tar archives as streams. Nothing holds an archive, or an entry, whole.
 *
 * @module
 */

/**
 * Not a literal where it is imported: Deno downloads what a literal names, and
 * whatever else `deno.lock` lists, before a program starts.
 */
export const TAR_STREAM: string = "npm:tar-stream@3.1.7";

/** Most bytes of an archive that may pass without an entry or its content. */
const MAX_OVERHEAD = 1024 * 1024;

/** The part of `tar-stream`, which has no types of its own, that is used here. */
interface TarStream {
  pack(): AsyncIterable<Uint8Array> & {
    entry(
      header: { name: string; size: number },
      onEnd: (error?: Error | null) => void,
    ): EntrySink;
    finalize(): void;
    destroy(error?: Error): void;
  };
  extract(): NodeJS.WritableStream & AsyncIterable<EntrySource>;
}

interface EntrySink {
  write(bytes: Uint8Array): boolean;
  end(): void;
  once(event: "drain", listener: () => void): void;
  destroy(error?: unknown): void;
  on(event: "error", listener: (error: Error) => void): void;
}

type EntrySource = AsyncIterable<Uint8Array> & {
  header: { name: string; type: string; size: number };
};

async function tarStream(): Promise<TarStream> {
  return (await import(TAR_STREAM)).default;
}

/** Writes an archive entry by entry. */
export class TarWriter {
  readonly #pack: ReturnType<TarStream["pack"]>;
  readonly #pumped: Promise<void>;
  /** Why the archive cannot be written any further. */
  #failure: { error: unknown } | null = null;

  private constructor(
    pack: ReturnType<TarStream["pack"]>,
    to: WritableStream<Uint8Array>,
  ) {
    this.#pack = pack;
    this.#pumped = this.#pump(to);
    this.#pumped.catch(() => {}); // told by add or finish
  }

  /** An archive that goes into a stream, which is closed at its end. */
  static async create(to: WritableStream<Uint8Array>): Promise<TarWriter> {
    const { pack } = await tarStream();
    return new TarWriter(pack(), to);
  }

  /**
   * Adds a file. Its bytes must be as many as were announced. Files may be added
   * at once: each waits for those before it.
   *
   * @throws The first error of the bytes' source or of the archive's target.
   */
  async add(
    name: string,
    size: number,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<void> {
    const ended = Promise.withResolvers<void>();
    ended.promise.catch(() => {}); // told below
    const entry = this.#pack.entry(
      { name, size },
      (error) => error ? ended.reject(error) : ended.resolve(),
    );
    entry.on("error", ended.reject);
    try {
      for await (const chunk of chunks) {
        if (entry.write(chunk)) continue;
        const drained = new Promise<void>((resolve) =>
          entry.once("drain", resolve)
        );
        await Promise.race([drained, ended.promise]);
      }
      entry.end();
      await ended.promise;
    } catch (error) {
      entry.destroy(error);
      await this.#pumped.catch(() => {});
      throw this.#failure ? this.#failure.error : error;
    }
  }

  /** Ends the archive, and waits until its target has all of it. */
  async finish(): Promise<void> {
    this.#pack.finalize();
    await this.#pumped;
  }

  /** Gives up: what has been written is no whole archive. */
  async abort(reason: Error): Promise<void> {
    this.#pack.destroy(reason);
    await this.#pumped.catch(() => {});
  }

  async #pump(to: WritableStream<Uint8Array>): Promise<void> {
    const writer = to.getWriter();
    try {
      for await (const chunk of this.#pack) {
        try {
          await writer.write(chunk);
        } catch (error) {
          this.#failure = { error };
          throw error;
        }
      }
      await writer.close();
    } catch (error) {
      await writer.abort(error).catch(() => {});
      throw error;
    }
  }
}

/** A file in an archive. */
export interface TarEntry {
  /** Its name as it is in the archive: whatever its maker put there. */
  name: string;
  /** Its size in bytes. */
  size: number;
  /** Its bytes; an error when the archive ends before them. */
  bytes: AsyncIterable<Uint8Array>;
}

/**
 * The files of an archive, each to be read before the next one is asked for.
 *
 * @throws {Deno.errors.InvalidData} If it is no archive, is cut, or holds
 * anything but files.
 */
export async function* readTar(
  from: ReadableStream<Uint8Array>,
): AsyncGenerator<TarEntry> {
  const { extract } = await tarStream();
  // An import at the top would load it whenever the program starts.
  const { promises: { pipeline }, Readable } = await import("node:stream");
  // A header may announce more headers without end, which would be kept whole.
  let overhead = 0;
  const counted = async function* () {
    for await (const chunk of from) {
      overhead += chunk.length;
      if (overhead > MAX_OVERHEAD) {
        throw new Deno.errors.InvalidData("its headers are too long");
      }
      yield chunk;
    }
  };
  const entries = extract();
  const fed = pipeline(Readable.from(counted()), entries);
  fed.catch(() => {}); // told below
  // Whatever is reading an entry is only told that there is no more of it.
  const causeOf = async (error: unknown) => {
    const cause = await fed.then(() => error, (cause) => cause);
    return isOfFormat(cause)
      ? new Deno.errors.InvalidData(cause.message, { cause })
      : cause;
  };
  const bytesOf = async function* (entry: EntrySource) {
    try {
      for await (const chunk of entry) {
        overhead = 0;
        yield chunk;
      }
    } catch (error) {
      throw await causeOf(error);
    }
  };
  const next = async () => {
    try {
      return await iterator.next();
    } catch (error) {
      throw await causeOf(error);
    }
  };
  const iterator = entries[Symbol.asyncIterator]();
  try {
    for (let at = await next(); !at.done; at = await next()) {
      overhead = 0;
      const { name, type, size } = at.value.header;
      if (type !== "file") {
        throw new Deno.errors.InvalidData(
          `${JSON.stringify(name)} is a ${type}, not a file`,
        );
      }
      if (!Number.isSafeInteger(size) || size < 0) {
        throw new Deno.errors.InvalidData(
          `${JSON.stringify(name)} has an impossible size`,
        );
      }
      yield { name, size, bytes: bytesOf(at.value) };
    }
    await fed;
  } finally {
    await iterator.return?.();
  }
}

/** Whether an error is about the archive and not about reading it. */
function isOfFormat(error: unknown): error is Error {
  return error instanceof Error &&
    /^(Invalid tar header|Unexpected end of data)/.test(error.message);
}
