import { assertEquals, assertRejects } from "@std/assert";
import type { PohStorageError } from "../../mod.ts";
import {
  dropStaged,
  rejectAll,
  type Result,
  settleAll,
  takeBatch,
  tellFailures,
  type Waiting,
} from "../../src/log/batch.ts";
import type { LogEntry, LogRecord } from "../../src/log/record.ts";
import { namesIn, test } from "../helpers.ts";
import { putEntry, tempParts } from "./helpers.ts";

function waiting(entry: Partial<LogEntry> = {}): Waiting {
  return {
    entry: putEntry(entry),
    rule: null,
    result: { made: true },
    settle: Promise.withResolvers<Result>(),
  };
}

function record(txId: string, position: number): LogRecord {
  const entry = putEntry({ txId });
  return { ...entry, position, length: 8, startsBatch: true };
}

test("a batch has at most 128 changes, and 4 MiB of payloads or one change", async () => {
  const many = Array.from({ length: 300 }, () => waiting());
  assertEquals(takeBatch(many).length, 128);
  assertEquals(many.length, 172);
  const payload = new Uint8Array(2 ** 20);
  const large = Array.from({ length: 6 }, () => waiting({ payload }));
  assertEquals(takeBatch(large).length, 4);
  assertEquals(takeBatch(large).length, 2);
  const huge = [5, 1].map((n) =>
    waiting({ payload: new Uint8Array(n * 2 ** 20) })
  );
  assertEquals(takeBatch(huge).length, 1);
  assertEquals(takeBatch([]), []);
  await Promise.resolve();
});

test("each is told what was made of its change, or why not", async () => {
  const [made, failed, refused] = [waiting(), waiting(), waiting()];
  failed.result.failure = new RangeError("no");
  settleAll([made, failed]);
  assertEquals(await made.settle.promise, { made: true });
  await assertRejects(() => failed.settle.promise, RangeError);
  rejectAll([refused], new TypeError("all"));
  await assertRejects(() => refused.settle.promise, TypeError);
});

test("whoever changed an id whose file is stuck is told, and nobody else", async () => {
  const ids = ["a", "b", "a"];
  const batch = ids.map((txId) => waiting({ txId }));
  const records = ids.map((txId, n) => record(txId, n * 8));
  tellFailures(batch, records, new Map());
  assertEquals(batch.some(({ result }) => result.failure), false);
  const first = new Error("first");
  batch[0]!.result.failure = first;
  tellFailures(batch, records, new Map([[16, new Error("is a directory")]]));
  const [a, b, last] = batch.map(({ result }) => result.failure);
  assertEquals([a, b], [first, undefined]);
  assertEquals((last as PohStorageError).code, "FILE_STUCK");
  assertEquals(last!.message.includes('"a" is saved'), true, last!.message);
  const removal = waiting({ txId: "b", kind: "remove", payload: null });
  tellFailures([removal], [record("b", 0)], new Map([[0, new Error("busy")]]));
  const { message } = removal.result.failure!;
  assertEquals(message.includes('"b" is deleted'), true, message);
  await Promise.resolve();
});

test("of a change that is not made only a staged payload goes", async () => {
  await using parts = await tempParts();
  const { files } = parts;
  const { name } = await files.staged.add([new Uint8Array(3)]);
  await files.place("a", new Uint8Array(3));
  dropStaged(waiting({ name }), files);
  assertEquals(namesIn(files.staged.path), [name]);
  dropStaged(waiting({ kind: "put-staged", payload: null, name }), files);
  assertEquals(namesIn(files.staged.path), []);
  assertEquals(files.find("a"), "a.bin");
});
