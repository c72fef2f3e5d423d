import { assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  performRecovery,
  PohStorageError,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import { crc32 } from "../../src/log/crc32.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import type { LogEntry } from "../../src/log/record.ts";
import { positionOf } from "../../src/log/segment.ts";
import {
  bytes,
  filesBelow,
  sampleTx,
  type TempStore,
  tempStore,
  test,
  text,
} from "../helpers.ts";
import { encodeRecord, putEntry } from "./helpers.ts";

/** A closed store with one payload in the log and one in a file. */
async function closedStore(): Promise<TempStore> {
  const temp = await tempStore({ packBelow: 20 });
  await temp.store.saveTx(sampleTx({ txId: "p", payload: bytes("packed") }));
  await temp.store.saveTx(sampleTx({ txId: "file" }));
  await temp.close();
  return temp;
}

/** Adds a record to the log; `change` makes it one of another program. */
function append(
  base: string,
  entry: LogEntry,
  change: (record: Uint8Array) => void = () => {},
): void {
  using dir = new LogDir(base, { sync: false, write: true });
  const segment = dir.segment(dir.numbers().at(-1)!)!;
  const { number, salt } = segment.header;
  const end = segment.size();
  const record = encodeRecord(entry, positionOf(number, end), salt, true);
  change(record);
  new DataView(record.buffer)
    .setUint32(0, crc32(record.subarray(4), salt.crc), true);
  segment.write(end, record);
}

/** All files but those that each opening for writing changes. */
async function logOf(base: string): Promise<Record<string, string>> {
  const files = await filesBelow(base);
  for (const name of ["poh.db", ".poh/log/lock", ".poh/log/state"]) {
    delete files[name];
  }
  return files;
}

/** Asserts that nothing opens the store, nor changes it. */
async function assertTooNew({ base, db }: TempStore, told: string) {
  const before = await logOf(base);
  for (
    const open of [
      () => StorageManager.open(base, db),
      () => StorageManager.open(base, db, { readOnly: true }),
      () => verifyStore(base, db),
      () => performRecovery(base, db),
    ]
  ) {
    const error = await assertRejects(open, PohStorageError, told);
    assertEquals(error.code, "LOG_TOO_NEW");
  }
  assertEquals(await logOf(base), before);
}

test("a log with a record of an unknown kind is refused, and kept", async () => {
  await using temp = await closedStore();
  append(temp.base, putEntry({ txId: "before" }));
  append(temp.base, putEntry({ txId: "new" }), (record) => record[24] = 9);
  await assertTooNew(temp, "of kind 9");
});

test("a log of a later version of the format is refused, and kept", async () => {
  await using temp = await closedStore();
  append(temp.base, putEntry({ txId: "before" }));
  const log = join(temp.base, ".poh", "log");
  for (const { name } of Deno.readDirSync(log)) {
    if (!name.endsWith(".seg")) continue;
    const content = await Deno.readFile(join(log, name));
    for (const at of [0, 80]) {
      const view = new DataView(content.buffer, at, 80);
      view.setUint32(4, 2, true);
      view.setUint32(76, crc32(content.subarray(at, at + 76)), true);
    }
    await Deno.writeFile(join(log, name), content);
  }
  await assertTooNew(temp, "format version 2, this program knows 1");
});

test("extensions of unknown types are skipped by all readers", async () => {
  await using temp = await closedStore();
  const { base } = temp;
  const extensions = [
    { type: 200, bytes: bytes("of a later version") },
    { type: 2, bytes: new Uint8Array(32) },
  ];
  for (const isPacked of [true, false]) {
    const txId = isPacked ? "packed-2" : "file-2";
    append(base, putEntry({ txId, isPacked, extensions }));
  }
  for (const readOnly of [true, false, true]) {
    const store = await temp.reopen({ readOnly });
    for (const txId of ["packed-2", "file-2"]) {
      const { payload } = (await store.loadTx(txId))!;
      assertEquals(text(payload), `payload of ${txId}`);
    }
    assertEquals((await store.verify()).sound, 4);
  }
  await temp.close();
});
