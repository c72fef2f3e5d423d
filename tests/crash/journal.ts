/**
 * What a writer has begun and what it was told is done, kept outside the store:
 * the measure of what may be missing after a crash.
 *
 * @module
 */

import type { Tx } from "../../mod.ts";
import { bytesFrom } from "./random.ts";

/** What an id holds: a version of its transaction, or nothing (null). */
export type State = { n: number; size: number } | null;

/**
 * One line of a journal. `begin` stands before the call, `done` after it has
 * resolved; `seen` is what a check found after a crash, from when on it must
 * stay.
 */
export interface Line {
  what: "begin" | "done" | "seen";
  id: string;
  state: State;
}

/** The transaction of a version: all of it follows from id, number and size. */
export function versionOf(id: string, n: number, size: number): Tx {
  return {
    txId: id,
    holderId: `holder ${n % 5}`,
    timestamp: n + 0.25,
    payload: bytesFrom(`${id} ${n}`, size),
  };
}

/** Appends to a journal, past the reach of whatever kills the writer. */
export class Journal implements Disposable {
  readonly #file: Deno.FsFile;

  /** Goes on with the journal at `path`, or begins one. */
  constructor(path: string) {
    this.#file = Deno.openSync(path, { append: true, create: true });
  }

  /** Adds a line; it outlives the process from here on. */
  add(what: Line["what"], id: string, state: State): void {
    const line: Line = { what, id, state };
    this.#file.writeSync(new TextEncoder().encode(JSON.stringify(line) + "\n"));
  }

  /** Runs a change to `id`, with a line before and one after. */
  async around<T>(
    id: string,
    state: State,
    change: () => Promise<T>,
  ): Promise<T> {
    this.add("begin", id, state);
    const result = await change();
    this.add("done", id, state);
    return result;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** The lines of journals, of each in its order. */
export function readJournal(...paths: string[]): Line[] {
  return paths.flatMap((path) => {
    const lines = Deno.readTextFileSync(path).split("\n");
    lines.pop(); // the rest of a line that was being written, or nothing
    return lines.map((line) => JSON.parse(line) as Line);
  });
}

/**
 * What each id may hold after a crash: what was last done, or anything that
 * was begun after it.
 */
export function allowedStates(lines: Line[]): Map<string, State[]> {
  const allowed = new Map<string, State[]>();
  for (const { what, id, state } of lines) {
    const states = allowed.get(id) ?? [null];
    if (what === "begin") states.push(state);
    // One change of an id is under way at a time: what was before is over.
    else states.splice(0, states.length, state);
    allowed.set(id, states);
  }
  return allowed;
}

/** {@linkcode allowedStates} where several writers change the same ids. */
export function allowedInAnyOrder(lines: Line[]): Map<string, State[]> {
  const allowed = new Map<string, State[]>();
  const kept = new Set<string>();
  for (const { what, id, state } of lines) {
    if (what === "begin") allowed.set(id, [...allowed.get(id) ?? [], state]);
    else if (state) kept.add(id);
  }
  for (const [id, states] of allowed) {
    const isSure = kept.has(id) && !states.includes(null);
    if (!isSure) states.push(null);
  }
  return allowed;
}
