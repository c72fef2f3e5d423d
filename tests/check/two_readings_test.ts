import { assert, assertEquals } from "@std/assert";
import {
  judge,
  type Reading,
  readingOf,
} from "../../src/check/two_readings.ts";

/** A row by its version, and what a reading of it may give. */
interface Row {
  version: number;
}
interface Bytes {
  digest: string;
}

const SOUND: Reading<Bytes> = {
  sound: { digest: "right" },
  other: null,
  failure: null,
};
const GONE: Reading<Bytes> = { sound: null, other: null, failure: null };

function wrong(digest: string): Reading<Bytes> {
  return { sound: null, other: { digest }, failure: null };
}

function refused(reason: string): Reading<Bytes> {
  return { sound: null, other: null, failure: new Error(reason) };
}

/** Judges by these readings; the row has these versions after each of them. */
async function judged(
  readings: Reading<Bytes>[],
  versions: (number | null)[] = [],
) {
  const pending = readings.values(), after = versions.values();
  let reads = 0;
  const result = await judge<Row, Bytes>(
    { version: 0 },
    () => {
      reads++;
      const { value, done } = pending.next();
      assert(!done, "no more readings than needed");
      return Promise.resolve(value);
    },
    () => {
      const { value, done } = after.next();
      if (done) return { version: 0 };
      return value === null ? null : { version: value };
    },
    (one, other) => one.version === other.version,
  );
  return { result, reads };
}

Deno.test("what is sound is read once", async () => {
  const { result, reads } = await judged([SOUND]);
  assertEquals(reads, 1);
  assert(result?.kind === "sound" && result.sound.digest === "right");
});

Deno.test("wrong bytes that are read once are no damage", async () => {
  const { result } = await judged([wrong("x"), SOUND]);
  assertEquals(result?.kind, "sound");
});

Deno.test("two readings that agree are damage", async () => {
  const { result } = await judged([wrong("x"), wrong("y"), wrong("y")]);
  assert(result?.kind === "damaged");
  assertEquals(result.found, { digest: "y" });
  const gone = await judged([GONE, GONE]);
  assert(gone.result?.kind === "damaged" && gone.result.found === null);
});

Deno.test("nothing and wrong bytes do not agree", async () => {
  const { result } = await judged([GONE, wrong("x"), GONE, SOUND]);
  assertEquals(result?.kind, "sound");
});

Deno.test("readings of two rows do not agree", async () => {
  const readings = [wrong("x"), wrong("x"), wrong("x"), wrong("x")];
  const { result, reads } = await judged(readings, [1, 2, 2, 2]);
  assertEquals(reads, 4);
  assert(result?.kind === "damaged");
  assertEquals(result.row, { version: 2 });
});

Deno.test("a row that is gone by now is judged no more", async () => {
  assertEquals((await judged([wrong("x")], [null])).result, null);
});

Deno.test("what the system refuses is no damage", async () => {
  const { result } = await judged([refused("no permission")]);
  assert(result?.kind === "unreadable");
  assertEquals(result.failure.message, "no permission");
});

Deno.test("a refusal does not count where the row was replaced", async () => {
  const { result } = await judged([refused("is a directory"), SOUND], [1]);
  assert(result?.kind === "sound");
  assertEquals(result.row, { version: 1 });
});

Deno.test("readings that never agree come to an end", async () => {
  const { result, reads } = await judged(
    Array.from({ length: 100 }, (_, n) => wrong(`${n}`)),
  );
  assert(result?.kind === "unreadable" && reads < 20);
  assertEquals(result.failure.message, "it does not read the same twice");
});

Deno.test("a row that is replaced all the time comes to an end", async () => {
  const { result, reads } = await judged(
    Array.from({ length: 100 }, () => wrong("x")),
    Array.from({ length: 100 }, (_, n) => n + 1),
  );
  assert(result?.kind === "unreadable" && reads < 20);
});

Deno.test("what was found is sound if it has the digest of the row", () => {
  const found = { digest: "right" };
  assertEquals(readingOf(found, "right"), {
    sound: found,
    other: null,
    failure: null,
  });
  assertEquals(readingOf(found, "other"), {
    sound: null,
    other: found,
    failure: null,
  });
  assertEquals(readingOf(null, "right"), GONE);
});
