/**
 * Text that a terminal shows and does not obey.
 *
 * @module
 */

/**
 * Text that a terminal shows and does not obey: control characters, line
 * separators and characters that turn the writing direction are written as
 * `\u{…}`.
 */
export function printable(text: string): string {
  return text.toWellFormed().replace(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}
