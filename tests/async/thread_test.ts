import { assertEquals } from "@std/assert";
import { Thread } from "../../src/async/thread.ts";
import { ECHO } from "../children/echo_thread.ts";
import { test } from "../helpers.ts";

const MODULE = new URL("../children/echo_thread.ts", import.meta.url);

function startEcho() {
  return Thread.start<{ say: string; after: number }, string>(MODULE, ECHO);
}

test("a thread's answers go to their questions", async () => {
  using thread = (await startEcho())!;
  const answers = await Promise.all([
    thread.ask({ say: "late", after: 30 }),
    thread.ask({ say: "soon", after: 0 }),
  ]);
  assertEquals(answers, ["late", "soon"]);
});

test("who no longer wants an answer gets none, the others theirs", async () => {
  using thread = (await startEcho())!;
  const controller = new AbortController();
  const { signal } = controller;
  const unwanted = thread.ask({ say: "late", after: 30 }, { signal });
  const wanted = thread.ask({ say: "later", after: 60 });
  controller.abort();
  assertEquals(await unwanted, null);
  assertEquals(await wanted, "later");
  assertEquals(await thread.ask({ say: "x", after: 0 }, { signal }), null);
});

test("a thread that died answers null, whenever it is asked", async () => {
  using thread = (await startEcho())!;
  const answers = await Promise.all([
    thread.ask({ say: "die", after: 0 }),
    thread.ask({ say: "after", after: 10_000 }),
  ]);
  assertEquals([answers, thread.hasDied], [[null, null], true]);
  assertEquals(await thread.ask({ say: "again", after: 0 }), null);
});
