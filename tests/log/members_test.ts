import { assertEquals, assertRejects } from "@std/assert";
import { StoreLocks } from "../../src/files/locks.ts";
import { LogDir } from "../../src/log/log_dir.ts";
import { Members } from "../../src/log/members.ts";
import { namesIn, tempDir, test } from "../helpers.ts";
import { writeSegment } from "./helpers.ts";

async function tempMembers() {
  const temp = await tempDir();
  const open = async () => {
    const locks = await StoreLocks.acquire(temp.path, {});
    const dir = new LogDir(temp.path, { sync: false, write: true });
    await dir.init();
    const members = new Members(dir, locks);
    const close = () => {
      members.close();
      dir[Symbol.dispose]();
      locks.release();
    };
    return { members, dir, close };
  };
  await Deno.mkdir(temp.join(".poh"), { recursive: true });
  return {
    open,
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
}

test("the first replays, the others find it done", async () => {
  await using temp = await tempMembers();
  const first = await temp.open(), second = await temp.open();
  await writeSegment(first.dir, 4, []);
  await Deno.writeTextFile(`${first.dir.path}/x.tmp`, "x");
  first.dir.setState({ joins: 9, resolved: 9, isCheckpointing: true });
  const replayed: string[] = [];
  assertEquals([first.members.hasJoined, first.members.isAlone], [
    false,
    false,
  ]);
  const isFirst = await first.members.join(async () => {
    assertEquals(namesIn(first.dir.path).includes("x.tmp"), false);
    replayed.push("first");
    await Promise.resolve();
  });
  assertEquals([isFirst, first.members.hasJoined], [true, true]);
  assertEquals(first.members.isAlone, true);
  assertEquals(first.dir.state(), {
    hasFailed: false,
    isCheckpointing: false,
    newest: 4,
    joins: 1,
    resolved: 0,
  });
  const other = await second.members.join(async () => {
    replayed.push("second");
    await Promise.resolve();
  });
  assertEquals([other, replayed], [false, ["first"]]);
  assertEquals([second.members.hasJoined, second.members.isAlone], [
    true,
    false,
  ]);
  assertEquals(second.dir.state().joins, 2);
  first.close();
  second.close();
});

test("after a sync that failed whoever joins replays, though not the first", async () => {
  await using temp = await tempMembers();
  const first = await temp.open(), second = await temp.open();
  await writeSegment(first.dir, 1, []);
  await first.members.join(async () => {});
  first.dir.setState({ hasFailed: true, resolved: 5 });
  let replays = 0;
  const isFirst = await second.members.join(async () => {
    replays++;
    await Promise.resolve();
  });
  assertEquals([isFirst, replays], [false, 1]);
  const { hasFailed, joins, resolved } = second.dir.state();
  assertEquals([hasFailed, joins, resolved], [false, 2, 5]);
  first.close();
  second.close();
});

test("a replay that fails joins nobody", async () => {
  await using temp = await tempMembers();
  const one = await temp.open();
  await assertRejects(
    () => one.members.join(() => Promise.reject(new RangeError("damaged"))),
    RangeError,
  );
  assertEquals(one.members.hasJoined, false);
  one.close();
});

test("a writer is alone until another joins, and again once it is gone", async () => {
  await using temp = await tempMembers();
  const first = await temp.open(), second = await temp.open();
  await writeSegment(first.dir, 1, []);
  await first.members.join(async () => {});
  const look = () => {
    first.members.look(first.dir.state().joins);
    return first.members.isAlone;
  };
  assertEquals(look(), true);
  await second.members.join(async () => {});
  assertEquals(look(), false);
  assertEquals(second.members.leave(), false); // the first goes on
  second.close();
  assertEquals(look(), false); // it does not look all the time
  await new Promise((resolve) => setTimeout(resolve, 1_050));
  assertEquals(look(), true);
  assertEquals(first.members.leave(), true);
  first.close();
});
