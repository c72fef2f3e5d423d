import { assertEquals, assertThrows } from "@std/assert";
import { base64Of } from "../../src/format/bytes.ts";
import { linesOf } from "../../src/format/lines.ts";
import { progressText } from "../../src/cli/progress.ts";
import { shellLine } from "../../src/cli/shell_line.ts";
import { jsonFloat } from "../../src/format/tx_json.ts";
import {
  byteCount,
  fraction,
  integer,
  localTime,
  time,
} from "../../src/format/values.ts";
import { printable } from "../../src/text/printable.ts";
import { byteText } from "../../src/format/size_text.ts";
import { UsageError } from "../../src/format/usage_error.ts";
import { bytes, randomBytes, seededRandom, text } from "../helpers.ts";

// --- values -----------------------------------------------------------------

Deno.test("time() reads UNIX seconds exactly", () => {
  for (
    const [written, expected] of [
      ["0", 0],
      ["1464307123", 1464307123],
      ["1464307123.25", 1464307123.25],
      ["-1.5", -1.5],
      ["+5", 5],
      [".5", 0.5],
      ["1e308", 1e308],
      ["1E-3", 0.001],
      ["0.1", 0.1],
    ] as const
  ) assertEquals(time("--since", written), expected, written);
});

Deno.test("time() reads an age before now", () => {
  for (
    const [written, expected] of [
      ["45s", 999_955],
      ["90m", 994_600],
      ["12h", 956_800],
      ["2d", 827_200],
      ["1w", 395_200],
      ["1.5h", 994_600],
    ] as const
  ) assertEquals(time("--since", written, 1_000_000), expected, written);
});

Deno.test("time() reads ISO 8601 dates, in local time unless they name a zone", () => {
  assertEquals(time("--since", "2016-05-26T23:58:43Z"), 1464307123);
  assertEquals(time("--since", "2016-05-26T23:58:43.250Z"), 1464307123.25);
  assertEquals(time("--since", "2016-05-27 08:58:43+09:00"), 1464307123);
  const local = new Date(2016, 4, 26).getTime() / 1000;
  assertEquals(time("--since", "2016-05-26"), local);
  assertEquals(time("--since", "2016-05-26T00:00"), local);
  assertEquals(
    time("--since", "2024-02-29"),
    new Date(2024, 1, 29).getTime() / 1000,
  );
});

Deno.test("time() refuses what is no time", () => {
  for (
    const written of [
      "",
      " ",
      "abc",
      "NaN",
      "Infinity",
      "-Infinity",
      "1e999",
      "0x10",
      "1_000",
      "1,5",
      "12:00",
      "2016-13-01",
      "2016-02-30",
      "2023-02-29",
      "2016-05-26T25:00",
      "30 d",
      "-30d",
      "30y",
      "5 ",
    ]
  ) assertThrows(() => time("--since", written), UsageError, "--since must be");
});

Deno.test("integer() and fraction() take what is in range and refuse the rest", () => {
  assertEquals(integer("--limit", "1"), 1);
  assertEquals(integer("--limit", "007"), 7);
  for (const bad of ["0", "-1", "1.5", "", "1e3", "x", "9".repeat(20)]) {
    assertThrows(() => integer("--limit", bad), UsageError, "--limit must be");
  }
  assertEquals(fraction("--sample", "5%"), 0.05);
  assertEquals(fraction("--sample", "0.05"), 0.05);
  assertEquals(fraction("--sample", "100%"), 1);
  assertEquals(fraction("--sample", "1"), 1);
  for (const bad of ["0", "0%", "101%", "1.1", "-5%", "", "%", "5 %", "x"]) {
    assertThrows(() => fraction("--sample", bad), UsageError, "--sample must");
  }
});

Deno.test("byteCount() reads bytes in units of 1024, and refuses the rest", () => {
  for (
    const [written, expected] of [
      ["0", 0],
      ["4096", 4096],
      ["64k", 65_536],
      ["64K", 65_536],
      ["1.5M", 1_572_864],
      ["1KB", 1024],
      ["1kib", 1024],
      ["2GiB", 2 ** 31],
      ["1t", 2 ** 40],
    ] as const
  ) assertEquals(byteCount("--min-size", written), expected, written);
  for (
    const bad of [
      "",
      "-1",
      "k",
      "1x",
      "1ki",
      "1 k",
      "5b",
      "1e3",
      "9000000T",
      "1.5",
    ]
  ) {
    assertThrows(
      () => byteCount("--min-size", bad),
      UsageError,
      "--min-size must be",
    );
  }
});

// --- what is printed ---------------------------------------------------------

Deno.test("localTime() is ISO 8601 with the local zone, and the same instant", () => {
  for (const seconds of [0, 1464307123.25, -1e9, 1.7e9, 1e11, -1e11, 2e11]) {
    const written = localTime(seconds);
    assertEquals(Date.parse(written) / 1000, seconds, written);
    assertEquals(/\.\d{3}[+-]\d{2}:\d{2}$/.test(written), true, written);
  }
  assertEquals(localTime(1e300), "1e+300 s");
  assertEquals(localTime(0.0625).slice(-10, -6), ".062");
});

Deno.test("jsonFloat() writes a float as Python's repr does", () => {
  for (
    const [value, expected] of [
      [0, "0.0"],
      [-0, "-0.0"],
      [1, "1.0"],
      [-1, "-1.0"],
      [100, "100.0"],
      [1464307123, "1464307123.0"],
      [1464307123.25, "1464307123.25"],
      [-1464307123.000001, "-1464307123.000001"],
      [0.1, "0.1"],
      [0.1 + 0.2, "0.30000000000000004"],
      [0.0001, "0.0001"],
      [0.00001, "1e-05"],
      [0.000012, "1.2e-05"],
      [1e15, "1000000000000000.0"],
      [9007199254740993, "9007199254740992.0"],
      [1e16, "1e+16"],
      [1.5e16, "1.5e+16"],
      [123456789012345680000, "1.2345678901234568e+20"],
      [1e22, "1e+22"],
      [1e308, "1e+308"],
      [-1e308, "-1e+308"],
      [5e-324, "5e-324"],
      [Number.MAX_VALUE, "1.7976931348623157e+308"],
    ] as const
  ) {
    assertEquals(jsonFloat(value), expected);
    assertEquals(Object.is(JSON.parse(jsonFloat(value)), value), true);
  }
});

Deno.test("jsonFloat() loses nothing of any finite number", () => {
  const words = new DataView(new ArrayBuffer(8));
  const random = seededRandom(7);
  for (let i = 0; i < 20_000; i++) {
    words.setUint32(0, random() * 2 ** 32);
    words.setUint32(4, random() * 2 ** 32);
    const value = words.getFloat64(0);
    if (!Number.isFinite(value)) continue;
    assertEquals(Object.is(JSON.parse(jsonFloat(value)), value), true);
  }
});

Deno.test("printable() lets no control character through, and text alone", () => {
  assertEquals(
    printable("a\nb\x1b[2J\x9b\x7f\0"),
    "a\\u{a}b\\u{1b}[2J\\u{9b}\\u{7f}\\u{0}",
  );
  assertEquals(printable("\u202Egpj.exe\u2028"), "\\u{202e}gpj.exe\\u{2028}");
  assertEquals(printable("取引 🍣 a/b é"), "取引 🍣 a/b é");
});

Deno.test("byteText() is a number that people can read", () => {
  assertEquals(byteText(0), "0 bytes");
  assertEquals(byteText(1023), "1023 bytes");
  assertEquals(byteText(1536), "1.5 KiB");
  assertEquals(byteText(3 * 1024 ** 4), "3.0 TiB");
});

Deno.test("shellLine() quotes what the shell would not take for one word", () => {
  const words = ["a/b-1.db", "it's a", "D:\\poh", "D:\\my poh"];
  assertEquals(
    shellLine(words, false),
    "a/b-1.db 'it'\\''s a' 'D:\\poh' 'D:\\my poh'",
  );
  assertEquals(
    shellLine(words, true),
    'a/b-1.db "it\'s a" D:\\poh "D:\\my poh"',
  );
});

Deno.test("base64Of() gives pieces that are the whole when joined", async () => {
  const whole = randomBytes(1000);
  for (const size of [1, 2, 3, 5, 64, 999, 1000, 2000]) {
    const pieces = await Array.fromAsync(base64Of(inPieces(whole, size)));
    assertEquals(pieces.join(""), whole.toBase64());
  }
});

// --- lines ------------------------------------------------------------------

Deno.test("linesOf() splits wherever the pieces are cut", async () => {
  const cases: [string, string[]][] = [
    ["", []],
    ["\n", [""]],
    ["a", ["a"]],
    ["a\n", ["a"]],
    ["a\nb", ["a", "b"]],
    ["\n\na\r\n\n", ["", "", "a\r", ""]],
    ["日本\n語\n", ["日本", "語"]],
  ];
  for (const [input, expected] of cases) {
    for (const size of [1, 2, 3, 100]) {
      const lines = [];
      let number = 0;
      for await (const line of linesOf(inPieces(bytes(input), size), 100)) {
        assertEquals(line.number, ++number);
        assertEquals(line.rest, null);
        lines.push(text(line.bytes));
      }
      assertEquals(lines, expected);
    }
  }
});

Deno.test("linesOf() gives a long line in pieces, read to its end or not", async () => {
  const long = "x".repeat(50);
  const input = bytes(`a\n${long}\nb\n${long}`);
  for (const reads of [0, 1, Infinity]) {
    for (const size of [1, 7, 10, 200]) {
      const seen: string[] = [];
      for await (const line of linesOf(inPieces(input, size), 10)) {
        let whole = text(line.bytes);
        let pieces = 0;
        if (line.rest && reads > 0) {
          for await (const piece of line.rest) {
            whole += text(piece);
            if (++pieces === reads) break;
          }
        }
        seen.push(whole);
      }
      assertEquals(seen.map((line) => line[0]), ["a", "x", "b", "x"]);
      if (reads === Infinity) assertEquals(seen, ["a", long, "b", long]);
    }
  }
});

async function* inPieces(
  whole: Uint8Array,
  size: number,
): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += size) {
    yield await Promise.resolve(whole.subarray(at, at + size));
  }
}

// --- progress ---------------------------------------------------------------

const amount = {
  label: "import",
  unit: "lines",
  done: 300,
  bytes: 3 * 1024 ** 2,
  totalBytes: 12 * 1024 ** 2,
  seconds: 30,
};

Deno.test("progressText() tells share, time left, rate and amounts", () => {
  assertEquals(
    progressText(amount, "##------"),
    "import: 25% [##------] 1:30 left, 10/s, 300 lines, 3.0 MiB",
  );
  assertEquals(
    progressText(amount),
    "import: 25%, 1:30 left, 10/s, 300 lines, 3.0 MiB",
  );
  const { totalBytes: _, ...unknown } = amount;
  assertEquals(progressText(unknown, "x"), "import: 10/s, 300 lines, 3.0 MiB");
  assertEquals(
    progressText({ ...unknown, total: 30_000, seconds: 60 }),
    "import: 1%, 1:39:00 left, 5.0/s, 300 of 30000 lines, 3.0 MiB",
  );
});

Deno.test("progressText() guesses nothing at first, and no time left at the end", () => {
  assertEquals(
    progressText({ ...amount, done: 0, bytes: 0, seconds: 9 }, "-"),
    "import: 0% [-] 0 lines",
  );
  assertEquals(
    progressText({ ...amount, seconds: 0.5 }, "#"),
    "import: 25% [#] 300 lines, 3.0 MiB",
  );
  // A file that grows while it is read is not read to more than all of it.
  assertEquals(
    progressText({ ...amount, bytes: 13 * 1024 ** 2 }, "#"),
    "import: 100% [#] 10/s, 300 lines, 13.0 MiB",
  );
});

Deno.test("progressText() leaves out what does not fit", () => {
  for (let columns = 12; columns < 80; columns++) {
    const text = progressText(amount, "##------", columns);
    assertEquals(text.length <= columns, true, text);
  }
  assertEquals(
    progressText(amount, "##------", 39),
    "import: 25% [##------] 1:30 left, 10/s",
  );
});
