/**
 * The part of `@std/cli/unstable-progress-bar` that is used here.
 *
 * @module
 */

/** What a frame is made of. */
export interface ProgressBarFormatter {
  /** The bar: `###-------`. */
  progressBar: string;
  /** Time since the start, in ms. */
  time: number;
}

/** The options of `@std/cli/unstable-progress-bar` that are supported. */
export interface ProgressBarOptions {
  /** Where frames go. */
  writable: WritableStream<Uint8Array>;
  /** What {@linkcode ProgressBar.value} comes to at the end. */
  max: number;
  /** Characters of the bar. */
  barLength: number;
  /** Gives a frame. */
  formatter: (frame: ProgressBarFormatter) => string;
  /** Time between two frames, in ms. */
  interval: number;
  /** Takes the last frame away at the end. */
  clear: true;
}

const ERASE = "\r\x1b[K";

/** Writes a frame at once and then at intervals, until it is stopped. */
export class ProgressBar {
  /** How far it has got. */
  value = 0;
  /** How far there is to go. */
  max: number;
  readonly #options: ProgressBarOptions;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  readonly #start = Date.now();
  readonly #timer: ReturnType<typeof setInterval>;

  /** Writes the first frame. */
  constructor(options: ProgressBarOptions) {
    this.max = options.max;
    this.#options = options;
    this.#writer = options.writable.getWriter();
    this.#timer = setInterval(() => this.#draw(), options.interval);
    this.#draw();
  }

  /** Takes the last frame away; nothing is written after it. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#write("");
    this.#writer.releaseLock();
  }

  #draw(): void {
    const { barLength, formatter } = this.#options;
    const share = Math.min(Math.max(this.value / this.max, 0), 1);
    const filled = Math.trunc(share * barLength);
    const progressBar = "#".repeat(filled) + "-".repeat(barLength - filled);
    const time = Date.now() - this.#start;
    void this.#write(formatter({ progressBar, time }));
  }

  /** Work goes on when its progress can no longer be told. */
  async #write(frame: string): Promise<void> {
    try {
      await this.#writer.write(this.#encoder.encode(ERASE + frame));
    } catch {
      clearInterval(this.#timer);
    }
  }
}
