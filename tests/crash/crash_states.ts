/**
 * What a power cut may leave of the files that a program has worked on.
 *
 * A file's bytes are certain once it was synced, a name once its directory was.
 * All else may be there, in part, or not: what Pillai et al. call the crash
 * states of an application ("All File Systems Are Not Created Equal", OSDI
 * 2014). One thing is taken from every journaling file system: a rename is one
 * step, which one of its two directories brings to the disk.
 *
 * @module
 */

import { dirname, join, relative } from "@std/path";
import type { Random } from "./random.ts";
import type { FileId, Operation, Snapshot } from "./recording.ts";

/** What reaches a disk whole or not at all, in bytes. */
const SECTOR = 512;

/** Which of the states that a cut may leave. */
export const CHOICES = [
  "only what was synced",
  "all names, no data",
  "all names, zeros for data",
  "all data, no names",
  "all of it",
  "all up to an earlier moment",
  "torn at random",
] as const;

/** Which of the states that a cut may leave. */
export type Choice = typeof CHOICES[number];

/** A change of a file's bytes that no sync has covered. */
type Change =
  & { moment: number }
  & ({ at: number; data: Uint8Array } | { size: number });

/** A change of names that no sync has covered. */
interface Naming {
  moment: number;
  /** The names; the directory of any of them brings the change to the disk. */
  paths: string[];
  apply: (names: Names) => void;
}

/** What each name stands for; null: a directory. */
type Names = Map<string, FileId | null>;

/** A disk with a write cache, at one moment of a recording. */
export class CachingDisk {
  /** What programs see. */
  readonly #live: Names = new Map();
  /** What is certain. */
  readonly #names: Names = new Map();
  readonly #bytes = new Map<FileId, Uint8Array>();
  /** What may get lost, oldest first. */
  #namings: Naming[] = [];
  readonly #changes = new Map<FileId, Change[]>();
  #moment = 0;
  readonly #random: Random;

  /** A disk that holds what was there before, and nothing else. */
  constructor(before: Snapshot, random: Random) {
    this.#random = random;
    for (const path of before.directories) {
      this.#live.set(path, null);
      this.#names.set(path, null);
    }
    for (const [path, { file, bytes }] of before.files) {
      this.#live.set(path, file);
      this.#names.set(path, file);
      this.#bytes.set(file, bytes);
    }
  }

  /** Goes on by one operation. */
  apply(operation: Operation): void {
    this.#moment++;
    switch (operation.kind) {
      case "create":
        this.#bytes.set(operation.file, new Uint8Array());
        return this.#name(operation.path, operation.file);
      case "mkdir":
        return this.#name(operation.path, null);
      case "unlink":
      case "rmdir":
        return this.#change([operation.path], (names) => {
          names.delete(operation.path);
        });
      case "rename": {
        const { from, to } = operation;
        return this.#move(from, to);
      }
      case "link":
        return this.#name(operation.to, this.#live.get(operation.from)!);
      case "write":
      case "truncate": {
        const change = operation.kind === "write"
          ? { at: operation.at, data: operation.data }
          : { size: operation.size };
        const changes = this.#changes.get(operation.file) ?? [];
        changes.push({ moment: this.#moment, ...change });
        this.#changes.set(operation.file, changes);
        return;
      }
      case "sync": {
        const changes = this.#changes.get(operation.file) ?? [];
        const bytes = this.#bytes.get(operation.file) ?? new Uint8Array();
        this.#bytes.set(operation.file, changed(bytes, changes));
        this.#changes.delete(operation.file);
        return;
      }
      case "sync failed": // nothing got there, and no later sync tries again
        this.#changes.delete(operation.file);
        return;
      case "sync directory":
        return this.#settleNames(operation.path);
    }
  }

  /** Writes what a cut at this moment may leave of `from` to another folder. */
  leave(choice: Choice, from: string, to: string): void {
    const until = choice === "all up to an earlier moment"
      ? this.#random.between(0, this.#moment + 1)
      : Infinity;
    const names = this.#namesLeft(choice, until);
    Deno.mkdirSync(to, { recursive: true });
    const kept = (path: string): boolean =>
      path === from || (names.get(path) === null && kept(dirname(path)));
    const paths = [...names.keys()].sort((a, b) => a.length - b.length);
    for (const path of paths) {
      if (!kept(dirname(path)) || path.endsWith("-shm")) continue;
      const target = join(to, relative(from, path));
      const file = names.get(path)!;
      if (file === null) Deno.mkdirSync(target, { recursive: true });
      else Deno.writeFileSync(target, this.#bytesLeft(file, choice, until));
    }
  }

  #name(path: string, file: FileId | null): void {
    this.#change([path], (names) => void names.set(path, file));
  }

  #move(from: string, to: string): void {
    const file = this.#live.get(from)!;
    const below = file === null
      ? [...this.#live].filter(([path]) => path.startsWith(`${from}/`))
      : [];
    this.#change([from, to], (names) => {
      names.delete(from);
      names.set(to, file);
      for (const [path, inside] of below) {
        names.delete(path);
        names.set(to + path.slice(from.length), inside);
      }
    });
  }

  #change(paths: string[], apply: (names: Names) => void): void {
    apply(this.#live);
    this.#namings.push({ moment: this.#moment, paths, apply });
  }

  /** With a change of a name goes whatever that name was changed to before. */
  #settleNames(directory: string): void {
    const paths = new Set<string>();
    const settled: Naming[] = [], left: Naming[] = [];
    for (const naming of this.#namings.toReversed()) {
      const isCovered = naming.paths.some((path) =>
        dirname(path) === directory || paths.has(path)
      );
      (isCovered ? settled : left).unshift(naming);
      if (isCovered) naming.paths.forEach((path) => paths.add(path));
    }
    for (const { apply } of settled) apply(this.#names);
    this.#namings = left;
  }

  #namesLeft(choice: Choice, until: number): Names {
    const names = new Map(this.#names);
    const isNone = choice === "only what was synced" ||
      choice === "all data, no names";
    if (isNone) return names;
    // A directory's changes are in order; directories are not, among each other.
    const left = new Map<string, number>();
    for (const { moment, paths, apply } of this.#namings) {
      if (choice === "torn at random") {
        const directory = dirname(paths[0]!);
        if (!left.has(directory)) {
          left.set(
            directory,
            this.#random.between(0, this.#namings.length + 1),
          );
        }
        const more = left.get(directory)!;
        left.set(directory, more - 1);
        if (more <= 0) continue;
      }
      if (moment <= until) apply(names);
    }
    return names;
  }

  #bytesLeft(file: FileId, choice: Choice, until: number): Uint8Array {
    const bytes = this.#bytes.get(file) ?? new Uint8Array();
    const changes = this.#changes.get(file) ?? [];
    switch (choice) {
      case "only what was synced":
      case "all names, no data":
        return bytes;
      case "all names, zeros for data":
        return changed(
          bytes,
          changes.map((change) => "data" in change ? sizeOnly(change) : change),
        );
      case "torn at random":
        return this.#torn(bytes, changes);
      default:
        return changed(
          bytes,
          changes.filter(({ moment }) => moment <= until),
        );
    }
  }

  /** Each sector of each change by chance; sizes run ahead of bytes. */
  #torn(bytes: Uint8Array, changes: Change[]): Uint8Array {
    const share = this.#random.pick([0.05, 0.5, 0.95]);
    const left: Change[] = [];
    for (const change of changes) {
      if (!("data" in change)) {
        if (this.#random.next() < share) left.push(change);
        continue;
      }
      const { at, data, moment } = change;
      for (let begin = 0; begin < data.length;) {
        const end = Math.min(
          data.length,
          (Math.floor((at + begin) / SECTOR) + 1) * SECTOR - at,
        );
        const piece = {
          moment,
          at: at + begin,
          data: data.subarray(begin, end),
        };
        begin = end;
        const isWritten = this.#random.next() < share;
        const isSized = this.#random.next() < share;
        if (isWritten) left.push(piece);
        else if (isSized) left.push(sizeOnly(piece));
      }
    }
    return changed(bytes, left);
  }
}

function endOf({ at, data }: { at: number; data: Uint8Array }): number {
  return at + data.length;
}

/** What a write does to the size alone. */
function sizeOnly(change: { moment: number; at: number; data: Uint8Array }) {
  return { moment: change.moment, at: endOf(change), data: new Uint8Array() };
}

/** A copy with these changes, one after another. */
function changed(bytes: Uint8Array, changes: Change[]): Uint8Array {
  const sizes = changes.map((change) =>
    "size" in change ? change.size : endOf(change)
  );
  const longest = sizes.reduce((a, b) => Math.max(a, b), bytes.length);
  const result = new Uint8Array(longest);
  result.set(bytes);
  let size = bytes.length;
  for (const change of changes) {
    if ("size" in change) {
      if (change.size < size) result.fill(0, change.size, size);
      size = change.size;
    } else {
      result.set(change.data, change.at);
      size = Math.max(size, endOf(change));
    }
  }
  return result.slice(0, size);
}
