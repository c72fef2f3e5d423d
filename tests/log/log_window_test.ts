import { assertEquals } from "@std/assert";
import { sha256HexSync } from "../../src/files/hash.ts";
import { LogWindow, readPacked } from "../../src/log/log_window.ts";
import { scanLog } from "../../src/log/scan.ts";
import { FIRST_RECORD, positionOf } from "../../src/log/segment.ts";
import type { TxInfo } from "../../src/types.ts";
import { randomBytes, seededRandom, test } from "../helpers.ts";
import { putEntry, tempLog, writeSegment } from "./helpers.ts";

/** Two segments of some MiB; what a row says of each record, and its place. */
async function filledLog() {
  const log = await tempLog();
  for (const number of [1, 2]) {
    const entries = Array.from({ length: 200 }, (_, n) =>
      putEntry({
        txId: `tx-${number}-${n}`,
        payload: randomBytes(n % 10 === 0 ? 65_536 : n * 50, n + number),
        isPacked: true,
      }));
    await writeSegment(log.dir, number, entries);
  }
  const rows: { info: TxInfo; place: number; payload: Uint8Array }[] = [];
  for (const { record } of scanLog(log.dir, positionOf(1, FIRST_RECORD))) {
    const { txId, holderId, timestamp, storageHash, size } = record!;
    rows.push({
      info: { txId, holderId, timestamp, storageHash, size },
      place: record!.position,
      payload: record!.payload!.slice(),
    });
  }
  return { log, rows };
}

test("a window gives every payload, in whatever order it is asked", async () => {
  const { log, rows } = await filledLog();
  await using _ = log;
  const random = seededRandom(1);
  const orders = [
    rows,
    rows.toReversed(),
    rows.toSorted(() => random() - 0.5),
    rows.filter((_, n) => n % 7 === 0),
  ];
  for (const order of orders) {
    const window = new LogWindow(log.dir);
    for (const { info, place, payload } of order) {
      assertEquals(window.payload(info, place), payload);
      assertEquals(readPacked(log.dir, info, place), payload);
    }
  }
});

test("a window gives nothing that is not as the row says", async () => {
  const { log, rows } = await filledLog();
  await using _ = log;
  const window = new LogWindow(log.dir);
  const [first, second] = rows.slice(50);
  const { info, place } = first!;
  const wrong: [TxInfo, number][] = [
    [{ ...info, txId: "tx-1-99" }, place],
    [{ ...info, size: info.size - 1 }, place],
    [{ ...info, size: -1 }, place],
    [{ ...info, size: 2 ** 40 }, place],
    [{ ...info, storageHash: sha256HexSync(new Uint8Array(3)) }, place],
    [info, second!.place],
    [info, place + 8],
    [info, positionOf(3, FIRST_RECORD)],
    [info, positionOf(2, 60_000_000)],
  ];
  for (const [row, at] of wrong) {
    assertEquals(window.payload(row, at), null);
    assertEquals(readPacked(log.dir, row, at), null);
    assertEquals(window.payload(second!.info, second!.place), second!.payload);
  }
});

test("a window gives no payload of a record that is damaged, a load does", async () => {
  const { log, rows } = await filledLog();
  await using _ = log;
  const { info, place, payload } = rows[3]!;
  const segment = log.dir.segment(1)!;
  segment.write(place - positionOf(1, 0) + 64, new Uint8Array([1])); // its time
  assertEquals(new LogWindow(log.dir).payload(info, place), null);
  assertEquals(readPacked(log.dir, info, place), payload);
});

test("what a load reads is what the disk has now", async () => {
  const { log, rows } = await filledLog();
  await using _ = log;
  const { info, place, payload } = rows[3]!;
  assertEquals(readPacked(log.dir, info, place), payload);
  const segment = log.dir.segment(1)!;
  const offset = place - positionOf(1, 0) + 80 + info.txId.length + 5;
  segment.write(offset, new Uint8Array([payload[0]! ^ 1]));
  assertEquals(readPacked(log.dir, info, place), null);
});
