/**
 * Reads the JSON form of a transaction from text that nobody vouches for.
 *
 * `JSON.parse` makes what the text describes before anything can be said of it:
 * of 16 MiB of `[[[` or `{},` that takes seconds, and many times the memory. A
 * transaction is one flat object of four fields, so this reader goes no deeper,
 * refuses a field that is unknown or comes twice when it meets it, and makes no
 * more than four values.
 *
 * @module
 */

import { InvalidTxError } from "../errors.ts";
import { requireTxFields, txFromJson } from "../tx.ts";

/** Longest number, or other word, in characters. */
const LONGEST_WORD = 400;

/** A valid value of each field, to have {@linkcode txFromJson} refuse another. */
const VALID = { tx_id: "a", holder_id: "", timestamp: 0, payload: "" };

const SPACE = /[ \t\n\r]*/y;
const WORD = /[^ \t\n\r,:"{}[\]]*/y;
// deno-lint-ignore no-control-regex -- JSON has them escaped
const ESCAPED = /[\u0000-\u001f\\]/;

/**
 * The fields of the object that a text holds: of a transaction's JSON form, each
 * at most once, with values that are neither arrays nor objects.
 *
 * @throws {SyntaxError} If the text is not JSON.
 * @throws {InvalidTxError} If it is, and no transaction.
 */
export function readTxJson(text: string): Record<string, unknown> {
  const reader = new Reader(text);
  if (!reader.takes("{")) {
    txFromJson(reader.value()); // throws: it is no object
  }
  const fields: Record<string, unknown> = {};
  if (!reader.takes("}")) {
    do {
      const name = reader.string();
      requireTxFields({ [name]: null });
      if (Object.hasOwn(fields, name)) {
        throw new InvalidTxError(name, `${name} is given twice`);
      }
      reader.expect(":");
      const value = reader.value();
      if (typeof value === "object" && value !== null) {
        txFromJson({ ...VALID, [name]: value }); // throws
      }
      fields[name] = value;
    } while (reader.takes(","));
    reader.expect("}");
  }
  reader.expectEnd();
  return fields;
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** Whether a sign comes next, which is then skipped. */
  takes(sign: string): boolean {
    this.#skip(SPACE);
    if (this.#text[this.#at] !== sign) return false;
    this.#at++;
    return true;
  }

  expect(sign: string): void {
    if (!this.takes(sign)) throw this.#unexpected();
  }

  expectEnd(): void {
    this.#skip(SPACE);
    if (this.#at < this.#text.length) throw this.#unexpected();
  }

  /** The next value; of an array or an object, an empty one that stands for it. */
  value(): unknown {
    this.#skip(SPACE);
    switch (this.#text[this.#at]) {
      case '"':
        return this.string();
      case "[":
        return [];
      case "{":
        return {};
    }
    const start = this.#at;
    this.#skip(WORD);
    const word = this.#text.slice(start, this.#at);
    if (word === "" || word.length > LONGEST_WORD) {
      this.#at = start;
      throw this.#unexpected();
    }
    return JSON.parse(word);
  }

  string(): string {
    this.expect('"');
    const start = this.#at;
    let end = start - 1;
    do {
      end = this.#text.indexOf('"', end + 1);
      if (end < 0) throw new SyntaxError("a string does not end");
    } while (this.#isEscaped(end));
    this.#at = end + 1;
    const raw = this.#text.slice(start, end);
    return ESCAPED.test(raw) ? JSON.parse(`"${raw}"`) : raw;
  }

  /** Whether an odd number of backslashes stands before a place. */
  #isEscaped(place: number): boolean {
    let at = place;
    while (this.#text[at - 1] === "\\") at--;
    return (place - at) % 2 === 1;
  }

  #skip(what: RegExp): void {
    what.lastIndex = this.#at;
    what.test(this.#text);
    this.#at = what.lastIndex;
  }

  #unexpected(): SyntaxError {
    const what = this.#at < this.#text.length
      ? JSON.stringify(this.#text[this.#at])
      : "end";
    return new SyntaxError(`unexpected ${what} at character ${this.#at}`);
  }
}
