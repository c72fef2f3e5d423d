import { createHash } from "node:crypto";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { basename, join, normalize } from "@std/path";
import { InvalidTxIdError } from "../../mod.ts";
import {
  fileName,
  isNameByDigest,
  storedName,
  txIdOfFile,
} from "../../src/files/file_name.ts";
import { bytes, seededRandom } from "../helpers.ts";

const CASE_MODES = [false, true]; // whether the file system folds case

/** Id, its name where case counts, its name where it does not. */
const NAMES: [string, string, string][] = [
  // Verbatim: safe everywhere.
  ["a", "a.bin", "a.bin"],
  ["tx-1_2.3", "tx-1_2.3.bin", "tx-1_2.3.bin"],
  ["0".repeat(64), `${"0".repeat(64)}.bin`, `${"0".repeat(64)}.bin`],
  ["a b", "a b.bin", "a b.bin"],
  ["取引", "取引.bin", "取引.bin"],
  ["🪙", "🪙.bin", "🪙.bin"],
  ["a'&$#@!~+={}[](),;", "a'&$#@!~+={}[](),;.bin", "a'&$#@!~+={}[](),;.bin"],
  // Letters whose case does not count.
  ["A", "A.bin", "%41.bin"],
  ["TxA", "TxA.bin", "%54x%41.bin"],
  ["é", "é.bin", "%C3%A9.bin"],
  ["ß", "ß.bin", "%C3%9F.bin"],
  ["\u212A", "%E2%84%AA.bin", "%E2%84%AA.bin"], // the Kelvin sign
  // Paths.
  ["../x", "%2E.%2Fx.bin", "%2E.%2Fx.bin"],
  ["a/b", "a%2Fb.bin", "a%2Fb.bin"],
  ["a\\b", "a%5Cb.bin", "a%5Cb.bin"],
  ["/etc/passwd", "%2Fetc%2Fpasswd.bin", "%2Fetc%2Fpasswd.bin"],
  ["C:\\x", "C%3A%5Cx.bin", "%43%3A%5Cx.bin"],
  [".", "%2E.bin", "%2E.bin"],
  ["..", "%2E..bin", "%2E..bin"],
  [".poh", "%2Epoh.bin", "%2Epoh.bin"],
  ["a:stream", "a%3Astream.bin", "a%3Astream.bin"],
  // Characters of Windows, controls, the escape itself.
  ['*?"<>|', "%2A%3F%22%3C%3E%7C.bin", "%2A%3F%22%3C%3E%7C.bin"],
  ["a\nb\x7f", "a%0Ab%7F.bin", "a%0Ab%7F.bin"],
  ["a\x85", "a%C2%85.bin", "a%C2%85.bin"],
  ["%41", "%2541.bin", "%2541.bin"],
  ["%", "%25.bin", "%25.bin"],
  ["%4f", "%254f.bin", "%254f.bin"],
  // Ends that Windows would cut are no ends here.
  ["a.", "a..bin", "a..bin"],
  ["a ", "a .bin", "a .bin"],
  ["a.bin", "a.bin.bin", "a.bin.bin"],
  // Devices, whatever follows.
  ["CON", "%43ON.bin", "%43%4F%4E.bin"],
  ["con", "%63on.bin", "%63on.bin"],
  ["con.txt", "%63on.txt.bin", "%63on.txt.bin"],
  ["con .x", "%63on .x.bin", "%63on .x.bin"],
  ["nul", "%6Eul.bin", "%6Eul.bin"],
  ["com1", "%63om1.bin", "%63om1.bin"],
  ["lpt9", "%6Cpt9.bin", "%6Cpt9.bin"],
  ["com¹", "%63om¹.bin", "%63om¹.bin"],
  ["conin$", "%63onin$.bin", "%63onin$.bin"],
  ["console", "console.bin", "console.bin"],
  ["com10", "com10.bin", "com10.bin"],
  // Text that is not composed: systems differ in what they make of it.
  ["e\u0301", "e%CC%81.bin", "e%CC%81.bin"],
  ["取e\u0301", "%E5%8F%96e%CC%81.bin", "%E5%8F%96e%CC%81.bin"],
];

for (const [txId, name, foldedName] of NAMES) {
  Deno.test(`fileName() of ${JSON.stringify(txId).slice(0, 30)}`, () => {
    assertEquals(fileName(txId, false), name);
    assertEquals(fileName(txId, true), foldedName);
    assertEquals(txIdOfFile(name, false), txId);
    assertEquals(txIdOfFile(foldedName, true), txId);
    for (const foldsCase of CASE_MODES) {
      assertEquals(storedName(txId, foldsCase), fileName(txId, foldsCase));
    }
  });
}

const REFUSED: [string, string][] = [
  ["an empty id", ""],
  ["NUL", "\0"],
  ["NUL within", "a\0b"],
  ["an unpaired high surrogate", "a\ud83d"],
  ["an unpaired low surrogate", "\ude00a"],
  ["4,000 characters", "x".repeat(4_000)],
  ["4,000 Japanese characters", "取".repeat(4_000)],
  ["one byte too many", "x".repeat(252)],
  ["85 characters of three bytes", "取".repeat(84)],
  ["escapes that make it too long", "/".repeat(84)],
];

for (const [what, txId] of REFUSED) {
  Deno.test(`fileName() refuses ${what}`, () => {
    for (const foldsCase of CASE_MODES) {
      assertThrows(() => fileName(txId, foldsCase), InvalidTxIdError);
    }
  });

  Deno.test(`storedName() names a row's file by digest: ${what}`, () => {
    for (const foldsCase of CASE_MODES) {
      const name = storedName(txId, foldsCase);
      assert(isNameByDigest(name), name);
      assertEquals(txIdOfFile(name, foldsCase), null);
    }
  });
}

Deno.test("a name by digest is the id's own, and no other id's", () => {
  const digest = createHash("sha256").update("").digest("hex");
  assertEquals(storedName(""), `%=${digest}.bin`);
  const names = new Set(REFUSED.map(([, txId]) => storedName(txId)));
  // Unpaired surrogates have no UTF-8 form, and no row can have them.
  assert(names.size >= REFUSED.length - 1);
  assertEquals(storedName(`%=${digest}`), `%25=${digest}.bin`);
});

Deno.test("fileName() takes an id whose name has 255 bytes", () => {
  assertEquals(bytes(fileName("x".repeat(251))).length, 255);
  assertEquals(bytes(fileName("取".repeat(83))).length, 253);
  assertEquals(bytes(fileName("/".repeat(83))).length, 253);
});

Deno.test("fileName() takes fewer capitals where case does not count", () => {
  const txId = "A".repeat(84);
  assertEquals(fileName(txId, false), `${txId}.bin`);
  assertThrows(() => fileName(txId, true), InvalidTxIdError, "256 bytes");
});

Deno.test("txIdOfFile() takes no name that ids are not given", () => {
  const names = [
    "CON",
    "a?b",
    "%",
    "%zz",
    "%4",
    "%e5",
    "e\u0301",
    "%41%",
    "%00",
    "%62",
    "%=00",
  ];
  for (const stem of names) {
    for (const foldsCase of CASE_MODES) {
      assertEquals(txIdOfFile(`${stem}.bin`, foldsCase), null, stem);
    }
  }
});

Deno.test("txIdOfFile() takes no name of a system with other case rules", () => {
  for (const txId of ["A", "Txß", "É"]) {
    for (const foldsCase of CASE_MODES) {
      assertEquals(txIdOfFile(fileName(txId, foldsCase), !foldsCase), null);
    }
  }
});

Deno.test("txIdOfFile() is null for what is no payload", () => {
  for (
    const name of ["a", ".poh", "poh.db", "a.bin.tmp", ".bin", "a.BIN", ""]
  ) {
    assertEquals(txIdOfFile(name), null, name);
  }
});

/** Text that makes trouble, to be put together at random. */
const PIECES = [
  ...'abzABZ09._-% \\/:*?"<>|\n\x01\x7f',
  ..."éÉßẞſKkİıǅΩωςΣ取引が🪙👩\u200d👩\u0301\u3099ﬁ㍿￿",
  ..."¹²³$",
  ..."\u{10FFFF}\u{1F600}\uFFFD\u00AD\uFEFF",
  ...["..", "../", "%41", "%4F", "%2f", "%25", "%00", ".bin", ".poh"],
  ...["con", "CON", "nul.", "aux ", "com1", "LPT9", "lpt¹", "conin$"],
  ...["e\u0301", "\u00e9", "か\u3099", "\u212b", "\u00c5", "A\u030a"],
];

/** Ids that are the same in every run. */
function* randomIds(count: number): Generator<string> {
  const random = seededRandom(413567);
  const pick = () => PIECES[Math.floor(random() * PIECES.length)]!;
  for (let n = 0; n < count; n++) {
    const length = 1 + Math.floor(random() * (n % 10 === 0 ? 40 : 5));
    yield Array.from({ length }, pick).join("");
  }
}

for (const foldsCase of CASE_MODES) {
  const mode = foldsCase ? "where case does not count" : "where case counts";

  Deno.test(`random ids: a name gives its id back, ${mode}`, () => {
    for (const txId of randomIds(5_000)) {
      const name = nameOrNull(txId, foldsCase);
      if (name !== null) assertEquals(txIdOfFile(name, foldsCase), txId);
    }
  });

  Deno.test(`random ids: no name leaves the directory, ${mode}`, () => {
    const base = join(Deno.cwd(), "base");
    for (const txId of randomIds(5_000)) {
      const name = storedName(txId, foldsCase);
      assertEquals(normalize(join(base, name)), join(base, name));
      assertEquals(basename(join(base, name)), name);
      assert(name.endsWith(".bin") && !name.startsWith("."), name);
      assert(bytes(name).length <= 255, name);
    }
  });

  Deno.test(`random ids: two ids never share a name, ${mode}`, () => {
    const ids = new Map<string, string>();
    for (const txId of randomIds(5_000)) {
      const name = nameOrNull(txId, foldsCase);
      if (name === null) continue;
      // What such a file system holds for one name.
      const folded = foldsCase
        ? name.normalize("NFD").toUpperCase().toLowerCase().normalize("NFC")
        : name;
      assertEquals(ids.get(folded) ?? txId, txId);
      ids.set(folded, txId);
    }
    assert(ids.size > 2_000);
  });

  Deno.test(`random ids: Windows takes every name, ${mode}`, () => {
    for (const txId of randomIds(5_000)) {
      const name = nameOrNull(txId, foldsCase);
      if (name === null) continue;
      // deno-lint-ignore no-control-regex -- they are what is looked for
      assert(!/[\x00-\x1f\x7f/\\:*?"<>|]/.test(name), name);
      assert(
        !/^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)/i
          .test(name),
        name,
      );
    }
  });
}

function nameOrNull(txId: string, foldsCase: boolean): string | null {
  try {
    return fileName(txId, foldsCase);
  } catch (error) {
    if (error instanceof InvalidTxIdError) return null;
    throw error;
  }
}
