/**
 * The part of `@std/path` that is used here. Node's `path` would do the same,
 * but loading it takes longer than everything else that a command loads.
 *
 * @module
 */

/** What paths of an operating system look like. */
interface Style {
  separator: string;
  isSeparator(character: string | undefined): boolean;
  /** Returns what a path begins with, ahead of the names. */
  rootOf(path: string): Root;
  /** Whether an absolute path also names a drive or a network share. */
  hasDevices: boolean;
  /** Returns a name in the form in which equal names are equal strings. */
  folded(name: string): string;
}

interface Root {
  /** A drive, `C:`, or a network share, `\\server\share`; else empty. */
  device: string;
  isAbsolute: boolean;
  /** Where the names begin. */
  length: number;
}

/** The functions of this module, for one operating system. */
export interface Paths {
  /** Returns the last name of a path. */
  basename(path: string): string;
  /** Returns a path without its last name. */
  dirname(path: string): string;
  /** Whether a path starts at a root. */
  isAbsolute(path: string): boolean;
  /** Returns one path of several parts, normalized. */
  join(...parts: string[]): string;
  /** Returns a path without `.`, needless `..` and repeated separators. */
  normalize(path: string): string;
  /** Returns the way from a folder to a path; empty if they are the same. */
  relative(from: string, to: string): string;
  /** Returns an absolute path: the last absolute part and those after it. */
  resolve(...parts: string[]): string;
}

/** Paths on Linux and macOS. */
export const posix: Paths = pathsOf({
  separator: "/",
  isSeparator: (character) => character === "/",
  rootOf(path) {
    const isAbsolute = path.startsWith("/");
    return { device: "", isAbsolute, length: isAbsolute ? 1 : 0 };
  },
  hasDevices: false,
  folded: (name) => name,
});

/** Paths on Windows. */
export const windows: Paths = pathsOf({
  separator: "\\",
  isSeparator: (character) => character === "\\" || character === "/",
  rootOf(path) {
    const share = /^[\\/]{2}([^\\/]+)[\\/]+([^\\/]+)[\\/]?/.exec(path);
    if (share) {
      const device = `\\\\${share[1]}\\${share[2]}`;
      return { device, isAbsolute: true, length: share[0].length };
    }
    const [start, device = ""] = /^([A-Za-z]:)?[\\/]?/.exec(path)!;
    const isAbsolute = start.length > device.length;
    return { device, isAbsolute, length: start.length };
  },
  hasDevices: true,
  folded: (name) => name.toLowerCase(),
});

function pathsOf(style: Style): Paths {
  const { separator, isSeparator, rootOf, folded } = style;

  /** Names without `.`, and without `..` as far as there is something to leave. */
  function namesOf(tail: string, mayClimb: boolean): string[] {
    const names: string[] = [];
    let start = 0;
    for (let at = 0; at <= tail.length; at++) {
      if (at < tail.length && !isSeparator(tail[at])) continue;
      const name = tail.slice(start, at);
      start = at + 1;
      if (name === "" || name === ".") continue;
      if (name !== "..") names.push(name);
      else if (names.length > 0 && names.at(-1) !== "..") names.pop();
      else if (mayClimb) names.push(name);
    }
    return names;
  }

  function isAbsolute(path: string): boolean {
    return rootOf(path).isAbsolute;
  }

  function normalize(path: string): string {
    if (path === "") return ".";
    const { device, isAbsolute, length } = rootOf(path);
    const names = namesOf(path.slice(length), !isAbsolute).join(separator);
    // What `..` leaves of `a/../C:` is a name and not a drive.
    const isName = device === "" && rootOf(names).device !== "";
    const start = isName
      ? `.${separator}`
      : isAbsolute
      ? device + separator
      : device;
    const tail = names === "" && !isAbsolute ? "." : names;
    const hasEnd = tail !== "" && isSeparator(path.at(-1));
    return start + tail + (hasEnd ? separator : "");
  }

  function join(...parts: string[]): string {
    const given = parts.filter((part) => part !== "");
    const path = given.join(separator);
    // Only the first part can name a share: `\` and `a` do not become one.
    const isShare = style.hasDevices && isSeparator(given[0]?.[0]) &&
      isSeparator(given[0]?.[1]) && given[0]!.length > 2 &&
      !isSeparator(given[0]![2]);
    return normalize(isShare ? path : withoutRepeatedStart(path));
  }

  function withoutRepeatedStart(path: string): string {
    let start = 0;
    while (isSeparator(path[start]) && isSeparator(path[start + 1])) start++;
    return path.slice(start);
  }

  function resolved(parts: string[]): { start: string; names: string[] } {
    let device = "", tail = "", isRooted = false;
    const isDone = () => isRooted && (device !== "" || !style.hasDevices);
    for (let i = parts.length - 1; i >= -1 && !isDone(); i--) {
      const path = i >= 0 ? parts[i]! : currentFolder(device);
      if (path === "") continue;
      const root = rootOf(path);
      if (root.device !== "") {
        if (device === "") device = root.device;
        else if (folded(root.device) !== folded(device)) continue;
      }
      if (isRooted) continue; // only its device was missing
      tail = path.slice(root.length) + separator + tail;
      isRooted = root.isAbsolute;
    }
    return { start: device + separator, names: namesOf(tail, false) };
  }

  /** On a drive that is not the current one, Windows starts at the root. */
  function currentFolder(device: string): string {
    const folder = Deno.cwd();
    const isElsewhere = device !== "" &&
      folded(rootOf(folder).device) !== folded(device);
    return isElsewhere ? device + separator : folder;
  }

  function resolve(...parts: string[]): string {
    const { start, names } = resolved(parts);
    return start + names.join(separator);
  }

  function relative(from: string, to: string): string {
    const source = resolved([from]), target = resolved([to]);
    if (folded(source.start) !== folded(target.start)) return resolve(to);
    let shared = 0;
    while (
      shared < source.names.length && shared < target.names.length &&
      folded(source.names[shared]!) === folded(target.names[shared]!)
    ) shared++;
    return [
      ...source.names.slice(shared).map(() => ".."),
      ...target.names.slice(shared),
    ].join(separator);
  }

  /** Returns where the last name of a path begins and ends. */
  function lastName(path: string, from: number): [number, number] {
    let end = path.length;
    while (end > from && isSeparator(path[end - 1])) end--;
    let start = end;
    while (start > from && !isSeparator(path[start - 1])) start--;
    return [start, end];
  }

  function dirname(path: string): string {
    const { length } = rootOf(path);
    const [start] = lastName(path, length);
    if (start > length) return path.slice(0, start - 1);
    return length > 0 ? path.slice(0, length) : ".";
  }

  function basename(path: string): string {
    const { device, length } = rootOf(path);
    // A share counts as names, a drive does not.
    const from = device.endsWith(":") ? length : 0;
    return path.slice(...lastName(path, from));
  }

  return {
    basename,
    dirname,
    isAbsolute,
    join,
    normalize,
    relative,
    resolve,
  };
}

/** The functions of `@std/path`, for this operating system. */
export const {
  basename,
  dirname,
  isAbsolute,
  join,
  normalize,
  relative,
  resolve,
}: Paths = Deno.build.os === "windows" ? windows : posix;
