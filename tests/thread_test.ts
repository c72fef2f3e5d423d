import { assertEquals } from "@std/assert";
import { FileThread } from "../src/file_thread.ts";
import { Thread } from "../src/thread.ts";
import { ECHO } from "./children/echo_thread.ts";
import { bytes, namesIn, tempDir, test } from "./helpers.ts";

const MODULE = new URL("./children/echo_thread.ts", import.meta.url);

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

test("a file thread creates files, and leaves what is there", async () => {
  await using dir = await tempDir();
  using thread = (await FileThread.start())!;
  await Deno.writeFile(dir.join("b"), bytes("older"));
  await Deno.mkdir(dir.join("c"));
  const files = ["a", "b", "c", "d"].map((name) => ({
    path: dir.join(name),
    payload: bytes(name === "d" ? "" : `new ${name}`),
  }));
  const left = [dir.join("b"), dir.join("c")];
  assertEquals(await thread.create(files), left);
  assertEquals(namesIn(dir.path), ["a", "b", "c", "d"]);
  assertEquals(await Deno.readTextFile(dir.join("a")), "new a");
  assertEquals(await Deno.readTextFile(dir.join("b")), "older");
  assertEquals((await Deno.stat(dir.join("d"))).size, 0);
});

test("a file thread syncs what is there, and what is gone is fine", async () => {
  await using dir = await tempDir();
  using thread = (await FileThread.start())!;
  await Deno.writeTextFile(dir.join("a"), "a");
  const refused: string[] = [];
  const onRefused = (path: string) => refused.push(path);
  await thread.sync([dir.join("a"), dir.join("gone")], onRefused);
  assertEquals(refused, []);
  await thread.sync([dir.join("no\0file")], onRefused);
  assertEquals(refused, [dir.join("no\0file")]);
});
