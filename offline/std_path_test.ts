// The stand-in's rules for paths are Node's, as far as both are used here.

import { assertEquals } from "@std/assert";
import nodePath from "node:path";
import fc from "../tests/fast_check.ts";
import { posix, windows } from "./std_path.ts";

const name = fc.constantFrom("a", "B", "b", "c.d", "..", "...", ".", " ", "é");

const posixPath = path(
  fc.constantFrom("", "/", "./"),
  fc.constantFrom("/", "//"),
);

const windowsPath = path(
  fc.constantFrom(
    "",
    "\\",
    "/",
    "C:\\",
    "c:/",
    "D:\\",
    "C:",
    "\\\\server\\share\\",
    "//server/share",
    "\\\\SERVER\\share\\",
  ),
  fc.constantFrom("/", "\\", "\\\\"),
);

/** A path of a root, names and separators, with or without one at its end. */
function path(root: fc.Arbitrary<string>, separator: fc.Arbitrary<string>) {
  return fc.tuple(root, fc.array(fc.tuple(name, separator)), fc.boolean())
    .map(([root, names, hasEnd]) => {
      const isShare = /^[\\/]{2}\w.*\w$/.test(root);
      const start = isShare && names.length > 0 ? `${root}/` : root;
      const all = start + names.flat().join("");
      const last = names.at(-1)?.[1] ?? "";
      return hasEnd || last === "" ? all : all.slice(0, -last.length);
    });
}

for (
  const [system, ours, node, paths, absolute] of [
    ["Linux and macOS", posix, nodePath.posix, posixPath, "/x/y"],
    ["Windows", windows, nodePath.win32, windowsPath, "C:\\x\\y"],
  ] as const
) {
  Deno.test(`paths of ${system} are split, joined and resolved as Node does it`, () => {
    const same = (call: (paths: typeof ours | typeof node) => unknown) => {
      assertEquals(call(ours), call(node), String(call));
    };
    fc.assert(
      fc.property(paths, paths, paths, (a, b, c) => {
        for (const one of [a, b, c]) {
          same((path) => path.normalize(one));
          same((path) => path.isAbsolute(one));
          same((path) => path.dirname(one));
          same((path) => path.basename(one));
        }
        // A drive after the first part is no drive, and no name either.
        const parts = [b, c].map((part) => part.replaceAll(":", ""));
        same((path) => path.join(a, ...parts));
        same((path) => path.resolve(absolute, a, b, c));
        const from = node.resolve(absolute, a), to = node.resolve(absolute, b);
        same((path) => path.relative(from, to));
      }),
      { numRuns: 2_000 },
    );
  });
}

Deno.test("nothing joined, normalized or split is the current folder", () => {
  for (const paths of [posix, windows]) {
    assertEquals(
      [
        paths.join(),
        paths.join("", ""),
        paths.normalize(""),
        paths.dirname(""),
      ],
      [".", ".", ".", "."],
    );
    assertEquals(paths.basename(""), "");
  }
});

Deno.test("what is climbed out of is not taken for a drive", () => {
  for (const path of ["a/../C:/b", "a\\..\\C:", "./c:\\b"]) {
    assertEquals(windows.normalize(path), nodePath.win32.normalize(path));
    assertEquals(windows.isAbsolute(windows.normalize(path)), false);
  }
});

Deno.test("a relative path resolves against the current folder", () => {
  const current = Deno.build.os === "windows" ? windows : posix;
  assertEquals(current.resolve(), Deno.cwd());
  assertEquals(current.resolve("a", "..", "b"), current.join(Deno.cwd(), "b"));
  assertEquals(current.relative("a/b", "a/c"), current.join("..", "c"));
});
