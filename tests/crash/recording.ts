/**
 * What a program did to the files below one folder, in the order in which it
 * happened: recorded by `recorder.c`, which the tests build where there is a C
 * compiler.
 *
 * @module
 */

import { join } from "@std/path";

/** A file, by a number that no other file of the recording has. */
export type FileId = number;

/** One call that changed something, or waited for the disk. */
export type Operation =
  | { kind: "create"; path: string; file: FileId }
  | { kind: "write"; path: string; file: FileId; at: number; data: Uint8Array }
  | { kind: "truncate"; file: FileId; size: number }
  | { kind: "sync" | "sync failed"; file: FileId }
  | { kind: "sync directory"; path: string }
  | { kind: "rename" | "link"; from: string; to: string }
  | { kind: "unlink" | "mkdir" | "rmdir"; path: string };

/** The calls that can be made to fail, as `recorder.c` names them. */
export const FAILING = [
  "create",
  "write",
  "truncate",
  "sync",
  "syncdir",
  "rename",
  "unlink",
  "mkdir",
  "link",
  "open",
] as const;

/** One call that is to fail: the n-th of its kind, from 1 on. */
export interface Failure {
  call: typeof FAILING[number];
  errno: "EIO" | "ENOSPC" | "EMFILE" | "EACCES";
  n: number;
  /** Whether the process dies before it learns of the failure. */
  isKilled?: boolean;
  /** Counts only calls on paths that end so. */
  path?: string;
}

const ERRNO = { EIO: 5, EACCES: 13, EMFILE: 24, ENOSPC: 28 };

/** Numbers of the operations in a recording. */
const OPERATIONS = [
  null,
  "create",
  "write",
  "truncate",
  "sync",
  "sync directory",
  "rename",
  "unlink",
  "mkdir",
  "rmdir",
  "link",
  "sync failed",
] as const;

/** Runs programs whose calls are recorded. */
export class Recorder {
  readonly #library: string;

  /** By a library that was built from `recorder.c`. */
  constructor(library: string) {
    this.#library = library;
  }

  /**
   * The program that runs another one recorded, and its arguments. By way of
   * `env`: Deno gives LD_PRELOAD to no child of its own.
   */
  around(to: string, below: string, failure?: Failure): string[] {
    const variables = {
      LD_PRELOAD: this.#library,
      RECORD_TO: to,
      RECORD_BELOW: below,
      ...(failure && {
        RECORD_FAIL: `${failure.call}:${ERRNO[failure.errno]}:${failure.n}:${
          failure.isKilled ? "kill" : "return"
        }:${failure.path ?? ""}`,
      }),
    };
    return ["env", ...Object.entries(variables).map((pair) => pair.join("="))];
  }
}

/** Builds the recorder, for the life of this process; or says why it cannot. */
export async function recorderOrReason(): Promise<Recorder | string> {
  if (Deno.build.os !== "linux") return "the recorder is for Linux";
  for (const command of ["cc", "env"]) {
    const { state } = await Deno.permissions.query({ name: "run", command });
    if (state !== "granted") return `--allow-run=${command} is not granted`;
  }
  const dir = Deno.makeTempDirSync();
  addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
  const library = join(dir, "recorder.so");
  const source = join(import.meta.dirname!, "recorder.c");
  try {
    const { success } = await new Deno.Command("cc", {
      args: ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
      stdout: "null",
      stderr: "null",
    }).output();
    return success ? new Recorder(library) : "cc cannot build the recorder";
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return "there is no cc";
  }
}

/** What was there before a recording began. */
export interface Snapshot {
  /** The directories, by their paths. */
  directories: string[];
  /** The files, by their paths. */
  files: Map<string, { file: FileId; bytes: Uint8Array }>;
  /** Their numbers on the disk. */
  inodes: Map<bigint, FileId>;
}

/** What is below a folder now. */
export function snapshotOf(folder: string): Snapshot {
  const snapshot: Snapshot = {
    directories: [],
    files: new Map(),
    inodes: new Map(),
  };
  const walk = (dir: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(dir)) {
      const path = join(dir, name);
      if (isDirectory) {
        snapshot.directories.push(path);
        walk(path);
        continue;
      }
      const inode = BigInt(Deno.statSync(path).ino!);
      const file = snapshot.inodes.get(inode) ?? -1 - snapshot.inodes.size;
      snapshot.inodes.set(inode, file);
      snapshot.files.set(path, { file, bytes: Deno.readFileSync(path) });
    }
  };
  walk(folder);
  return snapshot;
}

/** The operations of a recording. */
export function readRecording(
  bytes: Uint8Array<ArrayBuffer>,
  before: Snapshot,
): Operation[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder();
  const operations: Operation[] = [];
  const files = new Map(before.inodes);
  let newest = 0;
  for (let at = 0; at < bytes.length;) {
    const [operation, path, second, size] = [0, 4, 8, 12].map((offset) =>
      view.getUint32(at + offset, true)
    ) as [number, number, number, number];
    const inode = view.getBigUint64(at + 16, true);
    const offset = Number(view.getBigUint64(at + 24, true));
    at += 32;
    const take = (length: number) => bytes.subarray(at, at += length);
    const names = {
      path: decoder.decode(take(path)),
      second: decoder.decode(take(second)),
    };
    const data = take(size);
    const kind = OPERATIONS[operation]!;
    // The number of an inode is used again once its file is gone.
    if (kind === "create" || !files.has(inode)) files.set(inode, ++newest);
    const file = files.get(inode)!;
    switch (kind) {
      case "create":
        operations.push({ kind, path: names.path, file });
        break;
      case "write":
        operations.push({ kind, path: names.path, file, at: offset, data });
        break;
      case "truncate":
        operations.push({ kind, file, size: offset });
        break;
      case "sync":
      case "sync failed":
        operations.push({ kind, file });
        break;
      case "rename":
      case "link":
        operations.push({ kind, from: names.path, to: names.second });
        break;
      default:
        operations.push({ kind, path: names.path });
    }
  }
  return operations;
}
