import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { LogDir } from "../../src/log/log_dir.ts";
import {
  FIRST_RECORD,
  newHeader,
  positionOf,
  storeTag,
} from "../../src/log/segment.ts";
import {
  IS_WINDOWS,
  namesIn,
  randomBytes,
  refusingDisk,
  test,
} from "../helpers.ts";
import { putEntry, STORE_ID, tempLog, writeSegment } from "./helpers.ts";

test("a folder that is not there has no segments and no state", async () => {
  await using log = await tempLog();
  await Deno.remove(log.dir.path);
  using dir = new LogDir(log.base, { sync: true, write: true });
  assertEquals([dir.numbers(), dir.exists(), dir.segment(1)], [
    [],
    false,
    null,
  ]);
  assertEquals(dir.storeId(), null);
  assertEquals(dir.peek(1, 0, 10), new Uint8Array());
  assertEquals(dir.peekState().joins, 0);
  await dir.init();
  await dir.init();
  assertEquals(namesIn(dir.path), []);
});

test("what is in the place of a file is no file that is not there", async () => {
  await using log = await tempLog();
  const { dir } = log;
  for (const path of [dir.pathOf(1), join(dir.path, "state")]) {
    await Deno.mkdir(path);
  }
  assertThrows(() => dir.peek(1, 0, 10));
  assertThrows(() => dir.peekState());
  assertThrows(() => dir.segment(1));
});

test("segments are those whose names say so, oldest first", async () => {
  await using log = await tempLog();
  const { dir } = log;
  for (const number of [10, 9, 123_456_789]) {
    await writeSegment(dir, number, []);
  }
  for (const name of ["1.seg", "00000001.segx", "x00000001.seg", "state"]) {
    await Deno.writeTextFile(join(dir.path, name), "x");
  }
  await Deno.mkdir(join(dir.path, "00000002.seg"));
  assertEquals(dir.numbers(), [9, 10, 123_456_789]);
  assertEquals(dir.exists(), true);
  assertEquals(dir.pathOf(9), join(dir.path, "00000009.seg"));
  dir.drop(9);
  dir.drop(9);
  assertEquals(dir.numbers(), [10, 123_456_789]);
  assertEquals(dir.segment(9), null);
});

test("a segment that another process removed is let go of", async () => {
  await using log = await tempLog();
  const { dir } = log;
  await writeSegment(dir, 1, []);
  const open = dir.segment(1)!;
  assertEquals(dir.segment(1) === open, true);
  await Deno.remove(dir.pathOf(1));
  assertEquals(dir.segment(1) === open, true);
  assertEquals(dir.numbers(), []);
  assertEquals(dir.segment(1), null);
  assertThrows(() => open.size());
});

test("segments of another store are not read, but told by their headers", async () => {
  await using log = await tempLog();
  const { dir } = log;
  const create = (number: number, storeId: string) =>
    dir.create(newHeader({ number, changes: 0, storeId, previousEnd: 0 }));
  const other = "ff".repeat(16);
  await create(1, other);
  await create(2, storeTag(""));
  await create(3, STORE_ID);
  assertEquals([1, 2, 3].map((n) => dir.segment(n) !== null), [
    true,
    true,
    true,
  ]);
  assertEquals(dir.storeId() === other || dir.storeId() === STORE_ID, true);
  await create(4, STORE_ID);
  assertEquals(dir.storeId(), STORE_ID); // most of them
  assertEquals(dir.isForeign(1), false); // whose it is, nobody has said
  dir.belongTo(STORE_ID);
  assertEquals([1, 2, 3].map((n) => dir.isForeign(n)), [true, false, false]);
  assertEquals([1, 2, 3].map((n) => dir.segment(n) !== null), [
    false,
    true,
    true,
  ]);
  assertEquals(dir.isForeign(9), false);
  await Deno.writeFile(dir.pathOf(5), randomBytes(500));
  assertEquals([dir.isForeign(5), dir.segment(5)], [false, null]);
});

test("a segment is made whole, in place of one that is there", async () => {
  await using log = await tempLog();
  const { dir } = log;
  await writeSegment(dir, 1, [putEntry()]);
  const before = dir.segment(1)!.header.salt;
  await writeSegment(dir, 1, []);
  assertEquals(dir.segment(1)!.size(), FIRST_RECORD);
  assertEquals(dir.segment(1)!.header.salt === before, false);
  assertEquals(namesIn(dir.path), ["00000001.seg"]);
  await Deno.writeTextFile(join(dir.path, "half.tmp"), "x");
  dir.clearLeftovers();
  assertEquals(namesIn(dir.path), ["00000001.seg"]);
});

test("what live writers tell each other is kept field by field", async () => {
  await using log = await tempLog();
  using other = new LogDir(log.base, { sync: false, write: false });
  const { dir } = log;
  const state = {
    hasFailed: false,
    isCheckpointing: false,
    newest: 0,
    joins: 0,
    resolved: 0,
  };
  assertEquals([dir.state(), other.peekState()], [state, state]);
  for (
    const change of [
      { hasFailed: true },
      { isCheckpointing: true },
      { newest: 2 ** 40 },
      { joins: 7 },
      { resolved: 2 ** 52 + 1 },
      { hasFailed: false, isCheckpointing: false },
    ]
  ) {
    Object.assign(state, change);
    dir.setState(change);
    assertEquals([dir.state(), other.peekState()], [state, state]);
  }
  dir.setState({});
  assertEquals(dir.state(), state);
  dir.clearState();
  assertEquals(namesIn(dir.path), []);
  assertEquals(other.peekState().joins, 0);
});

test("the state is not looked for behind a link", async () => {
  await using log = await tempLog();
  await Deno.writeTextFile(join(log.base, "elsewhere"), "x");
  await Deno.symlink(
    join(log.base, "elsewhere"),
    join(log.dir.path, "state"),
  );
  assertThrows(() => log.dir.setState({ joins: 1 }), Deno.errors.InvalidData);
  assertEquals(await Deno.readTextFile(join(log.base, "elsewhere")), "x");
}, { ignore: IS_WINDOWS });

test("a part of a segment is written again, and waited for, where it is to be", async () => {
  await using log = await tempLog();
  await writeSegment(log.dir, 1, [putEntry()]);
  const [from, to] = [FIRST_RECORD, FIRST_RECORD + 64].map((offset) =>
    positionOf(1, offset)
  ) as [number, number];
  for (const sync of [true, false]) {
    using dir = new LogDir(log.base, { sync, write: true });
    const before = dir.segment(1)!.read(0, 1_000);
    await dir.writeAgain(from, to);
    assertEquals(dir.segment(1)!.read(0, 1_000), before);
    let syncs = 0;
    using _ = refusingDisk(() => ++syncs > 0);
    await dir.writeAgain(from, from);
    await dir.writeAgain(positionOf(2, FIRST_RECORD), positionOf(2, 500));
    assertEquals(syncs, 0);
    if (!sync) {
      await dir.writeAgain(from, to);
      await dir.syncNames();
      assertEquals(syncs, 0);
    } else {
      await assertRejects(() => dir.writeAgain(from, to), Error, "os error 5");
      if (!IS_WINDOWS) await assertRejects(() => dir.syncNames());
    }
  }
});
