/**
 * How far a long command has got: a bar on a terminal, a line now and then
 * elsewhere when `--progress` asks for it, nothing otherwise.
 *
 * @module
 */

import type { ProgressBar } from "@std/cli/unstable-progress-bar";
import { byteText } from "../format/size_text.ts";
import type { Output } from "./output.ts";

/** Time between two frames of the bar, and between two lines. */
const FRAME_MS = 100;
const LINE_MS = 5000;

/** Sequence that the bar writes before each frame, and at its end. */
const ERASE = "\r\x1b[K";

/** Rates and times left are guesses before that. */
const SETTLED_SECONDS = 1;

/** Progress of a command. */
export interface Amount {
  /** Things done so far. */
  done: number;
  /** Things in all, where that is known. */
  total?: number | null;
  /** Bytes so far. */
  bytes?: number;
  /** Bytes in all, where they measure progress better than counts do. */
  totalBytes?: number | null;
}

/** Content of a frame or a line. */
export interface ProgressState extends Amount {
  /** The work under way. */
  label: string;
  /** Unit of the counts. */
  unit: string;
  /** Seconds since it began. */
  seconds: number;
}

/** Tells how far a command has got, until it is disposed of. */
export class Progress implements Disposable {
  /** False if nothing is shown, so that a total need not be computed. */
  readonly isShown: boolean;
  #output: Output;
  #label: string;
  #unit: string;
  #start = performance.now();
  #amount: Amount = { done: 0 };
  #bar: ProgressBar | null = null;
  #ended = false;

  /** Begins to measure. */
  constructor(output: Output, label: string, unit = "txs") {
    this.#output = output;
    this.#label = label;
    this.#unit = unit;
    this.isShown = output.showsStatus || output.showsProgressLines;
    if (this.isShown) void this.#open();
  }

  /** Tells how far it has got; cheap enough to be called for each transaction. */
  update(amount: Amount, label: string = this.#label): void {
    if (!this.isShown) return;
    if (label !== this.#label) {
      this.#label = label;
      this.#start = performance.now();
    }
    this.#amount = amount;
    if (this.#bar === null) return;
    const { value, max } = shareOf(amount) ?? { value: 0, max: 1 };
    this.#bar.value = value;
    this.#bar.max = max;
  }

  /** Takes the bar away. */
  [Symbol.dispose](): void {
    this.#ended = true;
    void this.#bar?.stop();
    this.#output.status("");
  }

  async #open(): Promise<void> {
    const output = this.#output;
    let module;
    try {
      // Not stable yet: a release without it must not keep a command from its work.
      module = await import("@std/cli/unstable-progress-bar");
    } catch (error) {
      output.notice(`No progress is shown: ${(error as Error).message}`);
      return;
    }
    if (this.#ended) return;
    const redraws = output.showsStatus;
    this.#bar = new module.ProgressBar({
      max: 1,
      clear: true,
      interval: redraws ? FRAME_MS : LINE_MS,
      barLength: barLength(output.columns),
      formatter: ({ progressBar, time }) =>
        redraws
          ? progressText(this.#state(), progressBar, output.columns - 1)
          // The bar draws at once; a line is worth reading after a while.
          : time < LINE_MS / 2
          ? ""
          : progressText(this.#state()),
      writable: this.#sink(redraws),
    });
    this.update(this.#amount);
  }

  #state(): ProgressState {
    return {
      ...this.#amount,
      label: this.#label,
      unit: this.#unit,
      seconds: (performance.now() - this.#start) / 1000,
    };
  }

  /** Frames go where notices go, so that neither tears the other. */
  #sink(redraws: boolean): WritableStream<Uint8Array> {
    const decoder = new TextDecoder();
    return new WritableStream({
      write: (chunk) => {
        if (this.#ended) return;
        const text = decoder.decode(chunk).replace(ERASE, "");
        if (redraws) this.#output.status(text);
        else if (text !== "") this.#output.notice(text);
      },
    });
  }
}

/**
 * A frame or a line: what does not fit in `columns` is left out, the less
 * important first.
 */
export function progressText(
  state: ProgressState,
  bar?: string,
  columns = Infinity,
): string {
  const { label, unit, done, total, bytes, seconds } = state;
  const share = shareOf(state);
  const part = share && share.value / share.max;
  const settled = seconds >= SETTLED_SECONDS && done > 0;
  const facts = [
    ...(part && settled && part < 1
      ? [`${clockText(seconds / part - seconds)} left`]
      : []),
    ...(settled ? [`${rateText(done / seconds)}/s`] : []),
    total ? `${done} of ${total} ${unit}` : `${done} ${unit}`,
    ...(bytes ? [byteText(bytes)] : []),
  ];
  let text = `${label}:`;
  if (part !== null) {
    text += ` ${Math.floor(part * 100)}%`;
    const drawn = bar === undefined ? "," : ` [${bar}]`;
    if (text.length + drawn.length <= columns) text += drawn;
  }
  let separator = " ";
  for (const fact of facts) {
    if (text.length + separator.length + fact.length > columns) continue;
    text += separator + fact;
    separator = ", ";
  }
  return text;
}

/** The share that is done, where that is known. */
function shareOf(
  { done, total, bytes, totalBytes }: Amount,
): { value: number; max: number } | null {
  if (totalBytes && bytes !== undefined) {
    return { value: Math.min(bytes, totalBytes), max: totalBytes };
  }
  return total ? { value: Math.min(done, total), max: total } : null;
}

function barLength(columns: number): number {
  return Math.min(50, Math.max(10, Math.floor(columns / 4)));
}

function rateText(rate: number): string {
  return rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

/** Seconds as `m:ss` or `h:mm:ss`. */
function clockText(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes}:${two(whole % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
