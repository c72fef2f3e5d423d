/**
 * Reads a small file in three calls of the system, none of which follows a
 * symbolic link or waits for a FIFO: where the system has flags for that, and
 * Deno lets it see the path.
 *
 * A program with less than all permissions gets its paths without symbolic links:
 * Deno resolves them before it opens a file, whatever the flags. There only a look
 * beforehand tells a link.
 *
 * @module
 */

const IS_WINDOWS = Deno.build.os === "windows";

/** All that Deno asks for when it decides whether to resolve a path. */
const PERMISSIONS = [
  "read",
  "write",
  "net",
  "env",
  "sys",
  "run",
  "ffi",
  "import",
] as const;

/** Undefined: nobody has asked, or a permission has changed since. */
let hasAll: boolean | undefined;

let loaded: typeof import("node:fs") | undefined;

/** An import would load it at every start. */
function builtin(): typeof import("node:fs") {
  // deno-lint-ignore no-process-global -- likewise
  return loaded ??= process.getBuiltinModule("node:fs");
}

/** Whether `readNoFollowSync` refuses links: not once a permission is revoked. */
export function refusesLinks(): boolean {
  return hasAll ??= !IS_WINDOWS && PERMISSIONS.every(isGranted);
}

function isGranted(name: typeof PERMISSIONS[number]): boolean {
  const status = Deno.permissions.querySync({ name });
  status.onchange = () => hasAll = undefined;
  return status.state === "granted" && !status.partial;
}

/**
 * Fills a buffer from the beginning of a file.
 *
 * @returns How many bytes there were; at most as many as the buffer has.
 * @throws {Error} If there is none, or what has the name is a link, or has no
 * positions to read from, as a FIFO.
 */
export function readNoFollowSync(path: string, buffer: Uint8Array): number {
  const { openSync, readSync, closeSync, constants } = builtin();
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const file = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    return readSync(file, buffer, 0, buffer.length, 0);
  } finally {
    closeSync(file);
  }
}
