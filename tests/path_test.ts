// Paths by the program's own rules, against those of node:path.

import { assertEquals } from "@std/assert";
import node from "node:path";
import * as path from "../src/path.ts";
import fc from "./fast_check.ts";

/** Paths with detours, roots and separators where nobody would write them. */
const paths = fc.array(
  fc.constantFrom("/", "//", ".", "..", "a", "b", "a.bin", "...", "\\", "é"),
  { maxLength: 8 },
).map((parts) => parts.join(""));

/** Node keeps a separator at the end. */
function withoutEnd(path: string): string {
  return path === "/" ? path : path.replace(/\/$/, "");
}

Deno.test("paths are taken apart and put together as by node:path", () => {
  fc.assert(
    fc.property(paths, paths, paths, (a, b, c) => {
      const { posix } = path;
      assertEquals(posix.isAbsolute(a), node.posix.isAbsolute(a));
      assertEquals(posix.basename(a), node.posix.basename(a));
      assertEquals(
        posix.join(a, b, c),
        withoutEnd(node.posix.join(a, b, c)),
      );
      // Node leaves all but one of the separators before a name.
      assertEquals(
        posix.join(posix.dirname(a)),
        withoutEnd(node.posix.join(node.posix.dirname(a))),
      );
    }),
    { numRuns: 5_000 },
  );
});

Deno.test({
  name: "paths lead from this folder as by node:path",
  ignore: Deno.build.os === "windows",
  fn() {
    fc.assert(
      fc.property(paths, paths, (a, b) => {
        assertEquals(path.posix.resolve(a), node.posix.resolve(a));
        assertEquals(path.posix.relative(a, b), node.posix.relative(a, b));
      }),
      { numRuns: 5_000 },
    );
  },
});

Deno.test("the rules are those of the system", () => {
  assertEquals(path.resolve("a"), node.resolve("a"));
  assertEquals(path.join("a", "..", "b"), node.join("a", "..", "b"));
  assertEquals(path.basename("C:\\a\\b"), node.basename("C:\\a\\b"));
});
