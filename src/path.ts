/**
 * Paths of files, by the rules of this system.
 *
 * Every command needs them as it starts. Those of Windows are `node:path`'s,
 * which takes as long to load as all the rest of a start; those of the others
 * are few.
 *
 * @module
 */

/** Of `node:path`, what is used here. */
interface Rules {
  basename(path: string): string;
  dirname(path: string): string;
  isAbsolute(path: string): boolean;
  join(...parts: string[]): string;
  relative(from: string, to: string): string;
  resolve(path: string): string;
}

/**
 * Rules in which only a slash separates. As those of `node:path`, but that a
 * slash at the end is never kept.
 */
export const posix: Rules = {
  isAbsolute: (path) => path.startsWith("/"),

  basename: (path) => /([^/]*)\/*$/.exec(path)![1]!,

  dirname(path) {
    const parent = path.replace(/\/*[^/]*\/*$/, "");
    return parent || (posix.isAbsolute(path) ? "/" : ".");
  },

  join(...parts) {
    let path = "";
    for (const part of parts) path += path && part ? `/${part}` : part;
    if (!DETOUR.test(path)) return path || ".";
    const root = posix.isAbsolute(path) ? "/" : "";
    return root + namesOf(path).join("/") || ".";
  },

  resolve: (path) => posix.join(posix.isAbsolute(path) ? "" : Deno.cwd(), path),

  relative(from, to) {
    const start = namesOf(posix.resolve(from));
    const end = namesOf(posix.resolve(to));
    let shared = 0;
    while (shared < start.length && start[shared] === end[shared]) shared++;
    const up = start.slice(shared).map(() => "..");
    return [...up, ...end.slice(shared)].join("/");
  },
};

/** A name that is empty or of dots: most paths have none. */
const DETOUR = /\/\.{0,2}(?:\/|$)|^\.{1,2}(?:\/|$)/;

/** What a path leads through, without detours; from a root nothing leads up. */
function namesOf(path: string): string[] {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "" || name === ".") continue;
    const isUp = name === "..";
    if (isUp && names.length > 0 && names.at(-1) !== "..") names.pop();
    else if (!isUp || !posix.isAbsolute(path)) names.push(name);
  }
  return names;
}

const rules: Rules = Deno.build.os === "windows"
  // deno-lint-ignore no-process-global -- an import would load it everywhere
  ? process.getBuiltinModule("node:path")
  : posix;

export const { basename, dirname, isAbsolute, join, relative, resolve } = rules;
