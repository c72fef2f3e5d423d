/**
 * Ids from a fuzzer against the mapping of ids to file names.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "../fast_check.ts";
import { join, posix, win32 } from "node:path";
import { FileStore, InvalidTxIdError } from "../../mod.ts";
import { fileName, storedName, txIdOfFile } from "../../src/files/file_name.ts";
import { namesIn, tempDir } from "../helpers.ts";

/** Pieces that file systems, paths, encodings and cases have trouble with. */
const PIECES = [
  ..."/\\:*?\"<>|%. ~$'`&;#\n\t\u007f\u0085\u200b\u202e\ufeff",
  ..."aAzZ09ßſıİkK\u212aéÉσςΣ\u01c5",
  "e\u0301",
  "\u1e9e",
  "..",
  "../",
  "..\\",
  "%41",
  "%2F",
  "%2f",
  "%2E",
  "%C3%A9",
  "%00",
  "%",
  "con",
  "CON",
  "Lpt1",
  "com¹",
  "nul.",
  "aux .",
  ".bin",
  ".poh",
  ".poh/tmp",
  "poh.db",
  "C:",
  "\\\\?\\",
  "~root",
  "🦕",
  "漢",
  "ﬀ",
];

/** Ids that can be stored. */
export const validId: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.array(fc.constantFrom(...PIECES), {
      minLength: 1,
      maxLength: 8,
    }).map((pieces) => pieces.join("")),
  },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 30 }) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 90 }) },
  { weight: 1, arbitrary: fc.string({ maxLength: 300 }) },
).filter((id) => id !== "" && !id.includes("\0") && id.isWellFormed());

/** Any text, storable or not. */
const anyId = fc.oneof(
  validId,
  fc.string({ unit: fc.nat(0xffff).map((c) => String.fromCharCode(c)) }),
  fc.constantFrom("", "\0", "a\0b", "\ud800", "a\udc00"),
);

/** Two ids that somebody may take for one. */
const similarIds = fc.tuple(
  validId,
  fc.constantFrom<((id: string) => string)[]>(
    (id) => id.toLowerCase(),
    (id) => id.toUpperCase(),
    (id) => id.normalize("NFC"),
    (id) => id.normalize("NFD"),
    (id) => id.normalize("NFKC"),
    (id) => encodeURIComponent(id),
    (id) => encodeURIComponent(id).toLowerCase(),
    (id) => id.replace(/%[0-9A-F]{2}/gi, (code) => unescape(code)),
    (id) => fileName(id, true).slice(0, -4),
    (id) => fileName(id, false).slice(0, -4),
    (id) => fileName(id, false),
    (id) => id + ".",
    (id) => id + " ",
    (id) => "./" + id,
    (id) => id.trim(),
  ),
).map(([id, change]): [string, string] => {
  try {
    return [id, change(id)];
  } catch {
    return [id, id]; // too long, say
  }
}).filter(([a, b]) => isValid(b) && a !== b);

/**
 * Asserts for so many ids that none maps two ways, no two map to one file, and
 * none leaves the base.
 */
export async function fuzzKeys(runs: number): Promise<void> {
  for (const foldsCase of [false, true]) {
    fc.assert(
      fc.property(anyId, (id) => checkId(id, foldsCase)),
      { numRuns: runs },
    );
    fc.assert(
      fc.property(
        fc.oneof(similarIds, fc.tuple(validId, validId)),
        ([a, b]) => checkPair(a, b, foldsCase),
      ),
      { numRuns: runs },
    );
  }
  fc.assert(fc.property(anyId, checkName), { numRuns: runs });
  await checkFiles(Math.ceil(runs / 20));
}

function isValid(id: string): boolean {
  return id !== "" && !id.includes("\0") && id.isWellFormed();
}

function checkId(id: string, foldsCase: boolean): void {
  assertIsPlain(storedName(id, foldsCase));
  if (!isValid(id)) {
    assertThrows(() => fileName(id, foldsCase), InvalidTxIdError);
    return;
  }
  let name: string;
  try {
    name = fileName(id, foldsCase);
  } catch (error) {
    assert(error instanceof InvalidTxIdError && /too long/.test(error.message));
    return;
  }
  assertEquals(fileName(id, foldsCase), name);
  assertEquals(storedName(id, foldsCase), name);
  assertEquals(
    txIdOfFile(name, foldsCase),
    id,
    "the name does not give its id back",
  );
  assertIsPlain(name);
}

/** One component of a path, that every system takes as it is. */
function assertIsPlain(name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  assert(bytes <= 255, `${name} has ${bytes} bytes`);
  // deno-lint-ignore no-control-regex
  assert(!/[\u0000-\u001f\u007f-\u009f/\\:*?"<>|]/.test(name), name);
  assert(!/^(\.|con|prn|aux|nul|com\d|lpt\d)(\.|$)/i.test(name), name);
  assertEquals(name.normalize("NFC"), name);
  assertEquals(posix.resolve("/base", name), `/base/${name}`);
  assertEquals(win32.resolve("C:\\base", name), `C:\\base\\${name}`);
}

function checkPair(a: string, b: string, foldsCase: boolean): void {
  if (a === b) return;
  const one = storedName(a, foldsCase), two = storedName(b, foldsCase);
  assert(one !== two, "two ids have one file");
  if (!foldsCase) return;
  for (
    const fold of [
      (name: string) => name.toLowerCase(),
      (name: string) => name.toUpperCase(),
      (name: string) => name.toUpperCase().toLowerCase(),
    ]
  ) {
    for (const form of ["NFC", "NFD"]) {
      const [x, y] = [one, two].map((name) =>
        fold(name.normalize(form)).normalize(form)
      );
      assert(x !== y, `two ids have one file where ${form} and case fold`);
    }
  }
}

/** Whatever a file is called: the id it is taken for has that name. */
function checkName(stem: string): void {
  const name = `${stem}.bin`;
  if (new TextEncoder().encode(name).length > 255) return; // no such file
  for (const foldsCase of [false, true]) {
    const id = txIdOfFile(name, foldsCase);
    if (id !== null) assertEquals(storedName(id, foldsCase), name);
  }
}

/** The same on a real directory. */
async function checkFiles(runs: number): Promise<void> {
  await using dir = await tempDir();
  let round = 0;
  const payload = (text: string) => new TextEncoder().encode(text);
  await fc.assert(
    fc.asyncProperty(similarIds, async ([a, b]) => {
      const around = dir.join(`${round++}`);
      const store = new FileStore(join(around, "base"), { sync: false });
      const kept: string[] = [];
      for (const id of [a, b]) {
        try {
          await store.save(id, payload(id));
          kept.push(id);
        } catch (error) {
          assert(error instanceof InvalidTxIdError, String(error));
        }
      }
      for (const id of kept) assertEquals(await store.load(id), payload(id));
      assertEquals((await store.listKeys()).sort(), [...kept].sort());
      for (const [at, id] of kept.entries()) {
        assert(await store.remove(id));
        for (const other of kept.slice(at + 1)) {
          assertEquals(await store.load(other), payload(other));
        }
      }
      assertEquals(await store.listKeys(), []);
      assertEquals(namesIn(around), ["base"]);
    }),
    { numRuns: runs },
  );
}
