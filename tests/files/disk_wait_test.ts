import { assertEquals, assertRejects } from "@std/assert";
import { DiskWait } from "../../src/files/disk_wait.ts";
import { test } from "../helpers.ts";

test("a disk that answers at once is waited for without leaving the thread", async () => {
  const disk = new DiskWait();
  const calls: string[] = [];
  for (const slow of [0, 0, 20, 20, 20]) {
    await disk.wait(
      () => {
        calls.push("here");
        for (const end = performance.now() + slow; performance.now() < end;);
      },
      async () => {
        calls.push("elsewhere");
        if (slow > 0) await new Promise((done) => setTimeout(done, slow));
      },
    );
  }
  const [first, ...then] = calls;
  assertEquals(first, "elsewhere");
  assertEquals(then, ["here", "here", "elsewhere", "elsewhere"]);
});

test("what the disk refuses is told, here and elsewhere", async () => {
  const disk = new DiskWait();
  const refused = () => Promise.reject(new Error("os error 5"));
  await assertRejects(() => disk.wait(() => {}, refused), Error, "os error 5");
  await disk.wait(() => {}, async () => {});
  const here = () => {
    throw new Error("os error 5");
  };
  await assertRejects(() => disk.wait(here, async () => {}), Error);
});
