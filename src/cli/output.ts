/**
 * Where the program's words go: data to stdout, everything else to stderr.
 *
 * @module
 */

import { printable } from "../text/printable.ts";

/** Where data goes; `Deno.stdout` is one. */
export interface DataSink {
  /** Writes bytes, perhaps only the first of them; resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** Whether a person is looking at it. */
  isTerminal?(): boolean;
}

/** Where notices, progress and errors go; `Deno.stderr` is one. */
export interface NoticeSink {
  /** Writes bytes, perhaps only the first of them; returns how many. */
  writeSync(bytes: Uint8Array): number;
  /** Whether a person is looking at it. */
  isTerminal?(): boolean;
}

/** The streams of one run of the program, when they are not the process's own. */
export interface CliIo {
  /** What commands read that are told to read stdin. */
  stdin: ReadableStream<Uint8Array>;
  /** Where results go. */
  stdout: DataSink;
  /** Where notices, progress and errors go. */
  stderr: NoticeSink;
  /** Interrupts the run, as Ctrl-C does. */
  signal?: AbortSignal;
}

/** Whoever reads stdout has gone away: there is nobody left to work for. */
export class OutputClosedError extends Error {
  /** Makes an error from the system's own. */
  constructor(cause: unknown) {
    super("stdout is closed", { cause });
    this.name = "OutputClosedError";
  }
}

/** Text is gathered up to this size before it is written. */
const BUFFER_CHARS = 64 * 1024;

/** How long to wait for a pipe that its reader made non-blocking. */
const RETRY_MS = 2;

const encoder = new TextEncoder();

/** The program's output. */
export class Output {
  #stdout: DataSink;
  #stderr: NoticeSink;
  #text = "";
  #status = "";
  /** Where data scrolls by on a terminal, a status line would tear it. */
  #scrolls = false;

  /** No notices, no progress. */
  quiet = false;

  /** Progress in lines where there is no terminal. */
  progress = false;

  /** Whether a person is looking at stdout. */
  readonly isTerminal: boolean;

  /** Writes to these two. */
  constructor(stdout: DataSink, stderr: NoticeSink) {
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.isTerminal = stdout.isTerminal?.() === true;
  }

  /** Adds text to stdout; a full buffer waits until it is written. */
  async print(text: string): Promise<void> {
    this.#yieldTerminal();
    this.#text += text;
    if (this.#text.length >= BUFFER_CHARS) await this.flush();
  }

  /** Adds bytes to stdout. */
  async printBytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    this.#yieldTerminal();
    await this.#write(bytes);
  }

  /** Writes what {@linkcode print} has gathered. */
  async flush(): Promise<void> {
    if (this.#text === "") return;
    const bytes = encoder.encode(this.#text);
    this.#text = "";
    await this.#write(bytes);
  }

  /** Tells something on stderr, unless `--quiet`. */
  notice(line: string): void {
    if (!this.quiet) this.#tell(line);
  }

  /** Tells on stderr why the command fails, in one line. */
  error(message: string): void {
    this.#tell(`poh-storage: ${printable(message)}`);
  }

  /** The same for a program, as `{"error":{…}}`. */
  errorJson(error: Record<string, unknown>): void {
    this.#tell(JSON.stringify({ error }));
  }

  /** Tells more of an error to whoever debugs the program. */
  debug(text: string): void {
    this.#tell(text);
  }

  /** Whether {@linkcode status} shows anything. */
  get showsStatus(): boolean {
    return !this.quiet && !this.#scrolls &&
      this.#stderr.isTerminal?.() === true;
  }

  /** Whether progress is told in lines. */
  get showsProgressLines(): boolean {
    return this.progress && !this.quiet && this.#stderr.isTerminal?.() !== true;
  }

  /** Width of the terminal; 80 where it has none to tell. */
  get columns(): number {
    try {
      return Deno.consoleSize().columns || 80;
    } catch {
      return 80;
    }
  }

  /** Shows a line that the next one replaces; `""` takes it away. */
  status(line: string): void {
    if (!this.showsStatus || line === this.#status) return;
    this.#writeNotice(`\r\x1b[K${line}`);
    this.#status = line;
  }

  #yieldTerminal(): void {
    if (this.#scrolls || !this.isTerminal) return;
    this.status("");
    this.#scrolls = true;
  }

  #tell(line: string): void {
    const status = this.#status;
    this.status("");
    this.#writeNotice(`${line}\n`);
    this.status(status);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      try {
        at += await this.#stdout.write(bytes.subarray(at));
      } catch (error) {
        if (error instanceof Deno.errors.WouldBlock) {
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        } else if (error instanceof Deno.errors.BrokenPipe) {
          throw new OutputClosedError(error);
        } else throw error;
      }
    }
  }

  /** Synchronous, so that callbacks can tell things in order and without a queue. */
  #writeNotice(text: string): void {
    const bytes = encoder.encode(text);
    for (let at = 0; at < bytes.length;) {
      try {
        at += this.#stderr.writeSync(bytes.subarray(at));
      } catch (error) {
        // Nobody can be told that nobody listens.
        if (!(error instanceof Deno.errors.WouldBlock)) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  }
}
