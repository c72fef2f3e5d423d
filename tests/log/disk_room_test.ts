import { assertEquals, assertRejects } from "@std/assert";
import { Reserve } from "../../src/files/full_disk.ts";
import { DiskRoom } from "../../src/log/disk_room.ts";
import { sampleInfo } from "../contract/metadata_store.ts";
import { openRows, saveRow } from "../sqlite/rows.ts";
import { test } from "../helpers.ts";
import { tempParts } from "./helpers.ts";

const FULL = "No space left on device (os error 28)";

async function tempRoom() {
  const parts = await tempParts();
  const path = `${parts.files.basePath}/.poh/reserve`;
  const reserve = new Reserve(parts.files.basePath, false);
  return { ...parts, path, room: new DiskRoom(reserve, parts.rows) };
}

test("the reserve is given up first, then SQLite's log, and no more", async () => {
  await using temp = await tempRoom();
  const { room, path, rows } = temp;
  await Deno.writeFile(path, new Uint8Array(4 * 2 ** 20));
  await saveRow(rows, sampleInfo());
  const wal = () => Deno.statSync(`${rows.path}-wal`).size;
  assertEquals(await room.make(0), true);
  assertEquals([Deno.statSync(path).size, wal() > 0], [0, true]);
  assertEquals(await room.make(1), true);
  assertEquals(wal(), 0);
  assertEquals(await room.make(2), true);
  assertEquals(await room.make(3), false);
});

test("work is done again once there is room, other errors are told", async () => {
  await using temp = await tempRoom();
  const { room } = temp;
  let tries = 0;
  const failing = (times: number, message: string) => async () => {
    await Promise.resolve();
    if (tries++ < times) throw new Error(message);
    return "done";
  };
  assertEquals(await room.evenIfFull(failing(3, FULL)), "done");
  assertEquals(tries, 4);
  tries = 0;
  await assertRejects(() => room.evenIfFull(failing(4, FULL)), Error, "space");
  assertEquals(tries, 4);
  tries = 0;
  await assertRejects(() => room.evenIfFull(failing(1, "EIO")), Error, "EIO");
  assertEquals(tries, 1);
});

test("SQLite's log is waited for while it is in use, but not for ever", async () => {
  await using temp = await tempRoom();
  const { room, rows } = temp;
  await saveRow(rows, sampleInfo());
  await using reader = await openRows(rows.path, { readOnly: true });
  reader.connection.exec("BEGIN");
  reader.connection.prepare("SELECT count(*) FROM txs").get();
  await saveRow(rows, sampleInfo({ txId: "b" }));
  const start = performance.now();
  assertEquals(await room.make(0), false);
  assertEquals(performance.now() - start > 1_500, true);
  const timer = setTimeout(() => reader.connection.exec("COMMIT"), 100);
  assertEquals(await room.make(1), true);
  clearTimeout(timer);
});
