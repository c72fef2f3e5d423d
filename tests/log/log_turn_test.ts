import { assertEquals, assertRejects } from "@std/assert";
import { PohStorageError } from "../../mod.ts";
import { Reserve } from "../../src/files/full_disk.ts";
import { StoreLocks } from "../../src/files/locks.ts";
import { Place } from "../../src/files/place.ts";
import { DiskRoom } from "../../src/log/disk_room.ts";
import { Following } from "../../src/log/following.ts";
import { LogHealth } from "../../src/log/health.ts";
import { LogReader } from "../../src/log/log_reader.ts";
import { LogTurn } from "../../src/log/log_turn.ts";
import { Members } from "../../src/log/members.ts";
import { rowOf } from "../../src/log/record.ts";
import { FIRST_RECORD, offsetOf, positionOf } from "../../src/log/segment.ts";
import { logState, setLogState } from "../../src/sqlite/log_state.ts";
import { putRow } from "../../src/sqlite/row_changes.ts";
import { IS_WINDOWS, refusingDisk, test } from "../helpers.ts";
import { idsOf } from "../sqlite/rows.ts";
import { putEntry, tempParts, writeSegment } from "./helpers.ts";

/** A writer that has joined, whose rows have followed up to the log's start. */
async function tempTurn(count: number) {
  const parts = await tempParts();
  const { dir, rows, files: { basePath } } = parts;
  const entries = Array.from(
    { length: count },
    (_, n) => putEntry({ txId: `${n + 10_000}` }),
  );
  const end = await writeSegment(dir, 1, entries);
  const start = positionOf(1, FIRST_RECORD);
  await rows.change(() => setLogState(rows, { applied: start }));
  const locks = await StoreLocks.acquire(basePath, {});
  const members = new Members(dir, locks);
  await members.join(async () => {});
  const reserve = new Reserve(basePath, false);
  const health = new LogHealth(parts, new Place(basePath));
  const own = {
    ...parts,
    locks,
    sync: true,
    reserve,
    reader: new LogReader(dir, rows),
    health,
    members,
    room: new DiskRoom(reserve, rows),
  };
  const following = new Following(own);
  return {
    ...own,
    end,
    turn: new LogTurn(own, following),
    async [Symbol.asyncDispose]() {
      await following.close();
      members.close();
      locks.release();
      await parts[Symbol.asyncDispose]();
    },
  };
}

test("whoever has the turn has all follow that another writer left", async () => {
  await using temp = await tempTurn(1_030);
  const { turn, rows, files, end } = temp;
  await turn.enter();
  assertEquals(turn.position, end);
  assertEquals((await idsOf(rows)).length, 1_030);
  assertEquals(files.find("11029"), "11029.bin");
  assertEquals(logState(rows).applied, end);
  const [record] = await turn.append([putEntry({ txId: "new" })], true);
  assertEquals(record!.position, end);
  await turn.sync();
});

test("nobody writes behind damage", async () => {
  await using temp = await tempTurn(3);
  temp.dir.segment(1)!.write(FIRST_RECORD + 90, Uint8Array.of(1, 2, 3));
  const error = await assertRejects(() => temp.turn.enter(), PohStorageError);
  assertEquals(error.code, "LOG_DAMAGED");
  assertEquals(await idsOf(temp.rows), []);
});

test(
  "what the disk refuses of it is not followed, and ends the trust",
  async () => {
    await using temp = await tempTurn(3);
    const { turn, rows, health, dir } = temp;
    {
      using _ = refusingDisk((sync) => sync === 1); // after the names: the batch
      const error = await assertRejects(() => turn.enter(), PohStorageError);
      assertEquals(error.code, "DISK_FAILED");
    }
    assertEquals([health.hasFailed, dir.state().hasFailed], [true, true]);
    await assertRejects(() => turn.enter(), PohStorageError);
    assertEquals(await idsOf(rows), []);
  },
  { ignore: IS_WINDOWS },
);

test("a segment in which a payload lives is sealed only when it must be", async () => {
  await using temp = await tempTurn(2);
  const { turn, rows, dir, end } = temp;
  await turn.enter();
  const place = positionOf(1, FIRST_RECORD);
  await rows.change(() => putRow(rows, rowOf(putEntry())!, place));
  await turn.seal(false);
  assertEquals(turn.position, end);
  await turn.seal(true);
  assertEquals(turn.position, positionOf(2, FIRST_RECORD));
  assertEquals(dir.segment(1)!.size(), offsetOf(end));
  await turn.seal(true); // which has no record yet
  assertEquals(dir.numbers(), [1, 2]);
  assertEquals(logState(rows).applied, turn.position);
  await turn.append([putEntry({ txId: "b" })], true);
  await turn.seal(false);
  assertEquals(dir.numbers(), [1, 2, 3]);
});

test("a sync that the disk refuses ends the trust, here and elsewhere", async () => {
  await using temp = await tempTurn(0);
  const { turn, dir } = temp;
  await turn.enter();
  await turn.append([putEntry()], true);
  {
    using _ = refusingDisk(() => true);
    const error = await assertRejects(() => turn.sync(), PohStorageError);
    assertEquals(error.code, "DISK_FAILED");
  }
  await using other = await tempTurn(0);
  other.dir.setState({ hasFailed: true });
  const error = await assertRejects(() => other.turn.enter(), PohStorageError);
  assertEquals([error.code, dir.state().hasFailed], ["DISK_FAILED", true]);
});
