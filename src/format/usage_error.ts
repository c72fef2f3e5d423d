/**
 * The error of an option or a parameter that cannot be read.
 *
 * @module
 */

/** Wrong usage or bad input: exit code 2, or 400. */
export class UsageError extends Error {
  /** Makes an error that says what is wrong with the input. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "UsageError";
  }
}
