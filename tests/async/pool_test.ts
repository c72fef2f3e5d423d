import { assertEquals, assertRejects } from "@std/assert";
import { Pool, workThrough } from "../../src/async/pool.ts";

/** Work that ends when it is told to, and how much of it is under way. */
class Work {
  running = 0;
  most = 0;
  readonly #ends: (() => void)[] = [];

  start(): Promise<void> {
    this.most = Math.max(this.most, ++this.running);
    return new Promise((resolve) =>
      this.#ends.push(() => {
        this.running--;
        resolve();
      })
    );
  }

  async endAll(): Promise<void> {
    for (let end; (end = this.#ends.shift());) {
      end();
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve));

Deno.test("no more tasks than fit are under way", async () => {
  const work = new Work();
  const all = workThrough([1, 2, 3, 4, 5], () => work.start(), {
    most: { tasks: 2 },
  });
  await turn();
  assertEquals(work.running, 2);
  await work.endAll();
  assertEquals([await all, work.most], [true, 2]);
});

Deno.test("no more bytes than fit are under way, but for one that is larger", async () => {
  const work = new Work();
  const all = workThrough([10, 4, 4, 4], () => work.start(), {
    most: { tasks: 9, bytes: 8 },
    bytesOf: (size) => size,
  });
  await turn();
  assertEquals(work.running, 1);
  await work.endAll();
  assertEquals([await all, work.most], [true, 2]);
});

Deno.test("a signal ends it between two things, and what is under way ends first", async () => {
  const controller = new AbortController();
  const done: number[] = [];
  const isWhole = await workThrough([1, 2, 3], async (n) => {
    if (n === 2) controller.abort();
    await turn();
    done.push(n);
  }, { most: { tasks: 1 }, signal: controller.signal });
  assertEquals([isWhole, done], [false, [1, 2]]);
});

Deno.test("the first failure is thrown once all has ended, and nothing more begins", async () => {
  const begun: number[] = [];
  let ended = 0;
  await assertRejects(
    () =>
      workThrough([1, 2, 3, 4], async (n) => {
        begun.push(n);
        await turn();
        ended++;
        if (n === 1) throw new Error("first");
      }, { most: { tasks: 2 } }),
    Error,
    "first",
  );
  assertEquals([begun, ended], [[1, 2], 2]);
});

Deno.test("what the things' own source throws is thrown, work under way ends", async () => {
  let ended = 0;
  const things = async function* () {
    yield await Promise.resolve(1);
    throw new Error("source");
  };
  await assertRejects(
    () =>
      workThrough(things(), async () => {
        await turn();
        ended++;
      }, { most: { tasks: 2 } }),
    Error,
    "source",
  );
  assertEquals(ended, 1);
});

Deno.test("end() throws what failed, though nothing more is started", async () => {
  const pool = new Pool({ tasks: 2, bytes: Infinity });
  await pool.start(0, () => Promise.reject(new Error("failed")));
  await assertRejects(() => pool.end(), Error, "failed");
});
