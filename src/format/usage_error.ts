/**
 * The error of an option or a parameter that cannot be read.
 *
 * @module
 */

/** The options of an error that may say what to do next. */
export interface HintOptions extends ErrorOptions {
  /** What to do next. */
  hint?: string;
}

/** Wrong usage or bad input: exit code 2, or 400. */
export class UsageError extends Error {
  /** What to do next; null where the message says enough. */
  readonly hint: string | null;

  /** Makes an error that says what is wrong with the input. */
  constructor(message: string, options: HintOptions = {}) {
    super(message, options);
    this.name = "UsageError";
    this.hint = options.hint ?? null;
  }
}
