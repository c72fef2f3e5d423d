/**
 * Writes data to stdout and everything else to stderr.
 *
 * @module
 */

import { printable } from "../text/printable.ts";
import type { Pager } from "./pager.ts";
import { type ColorChoice, type Paint, paintFor } from "./style.ts";

/** Receives data, as `Deno.stdout` does. */
export interface DataSink {
  /** Writes bytes, perhaps only the first of them; resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
  /** True if it is a terminal. */
  isTerminal?(): boolean;
}

/** Receives notices, progress and errors, as `Deno.stderr` does. */
export interface NoticeSink {
  /** Writes bytes, perhaps only the first of them; returns how many. */
  writeSync(bytes: Uint8Array): number;
  /** True if it is a terminal. */
  isTerminal?(): boolean;
}

/** The streams of one run of the program, when they are not the process's own. */
export interface CliIo {
  /** Input for commands that read stdin. */
  stdin: ReadableStream<Uint8Array>;
  /** Receives results. */
  stdout: DataSink;
  /** Receives notices, progress and errors. */
  stderr: NoticeSink;
  /** Interrupts the run, as Ctrl-C does. */
  signal?: AbortSignal;
}

/** The reader of stdout has closed it. */
export class OutputClosedError extends Error {
  /** Makes an error from the system's own. */
  constructor(cause: unknown) {
    super("stdout is closed", { cause });
    this.name = "OutputClosedError";
  }
}

/** Ends what prints a page of more than the screen shows, where there is no pager. */
class ScreenFull extends Error {}

/** Text is gathered up to this size before it is written. */
const BUFFER_CHARS = 64 * 1024;

/** Delay before retrying a write to a non-blocking pipe, in ms. */
const RETRY_MS = 2;

const encoder = new TextEncoder();

function consoleSize(): { columns: number; rows: number } | null {
  try {
    return Deno.consoleSize();
  } catch {
    return null; // no stream of this process is a terminal
  }
}

/** The program's output. */
export class Output {
  readonly #isProcess: boolean;
  #stdout: DataSink;
  #stderr: NoticeSink;
  #text = "";
  #status = "";
  /** Data is printed to the terminal, and would be torn by a status line. */
  #scrolls = false;
  /** Text is held back until it is known to fit on the screen. */
  #fits = false;

  /** No notices, no progress. */
  quiet = false;

  /** Progress in lines where there is no terminal. */
  progress = false;

  /** True if stdout is a terminal. */
  readonly isTerminal: boolean;

  /** Marks text for stdout. */
  readonly paint: Paint;

  /** Marks text for stderr. */
  readonly paintNotice: Paint;

  /** Writes to these two; the process's own unless given. */
  constructor(io: Pick<CliIo, "stdout" | "stderr"> | null, color: ColorChoice) {
    this.#isProcess = io === null;
    this.#stdout = io?.stdout ?? Deno.stdout;
    this.#stderr = io?.stderr ?? Deno.stderr;
    this.isTerminal = this.#stdout.isTerminal?.() === true;
    this.paint = paintFor(color, this.isTerminal);
    this.paintNotice = paintFor(color, this.#stderr.isTerminal?.() === true);
  }

  /** Adds text to stdout; a full buffer waits until it is written. */
  async print(text: string): Promise<void> {
    this.#yieldTerminal();
    this.#text += text;
    if (this.#fits) await this.#turnPage();
    if (this.#text.length >= BUFFER_CHARS) await this.flush();
  }

  /**
   * Runs `work`, and shows what it prints in the user's pager where that is longer
   * than the terminal. Returns whether all of it was shown: without a pager no more
   * is printed than the terminal has lines.
   */
  async page(work: () => Promise<void>): Promise<boolean> {
    const stdout = this.#stdout;
    this.#fits = this.isTerminal;
    try {
      await work();
      await this.flush();
      return true;
    } catch (error) {
      if (error instanceof ScreenFull) return false;
      throw error;
    } finally {
      this.#fits = false;
      if (this.#stdout !== stdout) await (this.#stdout as Pager).end();
      this.#stdout = stdout;
    }
  }

  async #turnPage(): Promise<void> {
    const lines = this.#text.split("\n");
    const room = this.rows - 2; // for the command before it, and the next prompt
    if (lines.length - 1 <= room) return;
    this.#fits = false;
    const pager = this.#isProcess
      ? await (await import("./pager.ts")).openPager()
      : null;
    if (pager !== null) {
      this.#stdout = pager;
      return;
    }
    this.#text = lines.slice(0, room).join("\n") + "\n";
    await this.flush();
    throw new ScreenFull();
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

  /** How notices are written; as they are, unless for programs. */
  noticeForm: (line: string) => string = (line) => line;

  /** Tells something on stderr, unless `--quiet`. */
  notice(line: string, form = this.noticeForm): void {
    if (!this.quiet) this.#tell(form(line));
  }

  /** Tells on stderr why the command fails, in one line. */
  error(message: string): void {
    this.#tell(
      `${this.paintNotice("damage", "poh-storage:")} ${printable(message)}`,
    );
  }

  /** The same for a program, as `{"error":{…}}`. */
  errorJson(error: Record<string, unknown>): void {
    this.#tell(JSON.stringify({ error }));
  }

  /** Tells on stderr how the program is used. */
  help(text: string): void {
    this.#writeNotice(text);
  }

  /** Tells more of an error to whoever debugs the program. */
  debug(text: string): void {
    this.#tell(text);
  }

  /** True if {@linkcode status} shows anything. */
  get showsStatus(): boolean {
    return !this.quiet && !this.#scrolls &&
      this.#stderr.isTerminal?.() === true;
  }

  /** True if progress is printed as lines. */
  get showsProgressLines(): boolean {
    return this.progress && !this.quiet && this.#stderr.isTerminal?.() !== true;
  }

  /** Width of the terminal; 80 where it has none to tell. */
  get columns(): number {
    return consoleSize()?.columns || 80;
  }

  /** Lines of the terminal; 24 where it has none to tell. */
  get rows(): number {
    return consoleSize()?.rows || 24;
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
        // stderr is closed: there is nowhere to report that.
        if (!(error instanceof Deno.errors.WouldBlock)) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
      }
    }
  }
}
