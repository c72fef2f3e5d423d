import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { placeOf } from "../../src/payloads/payload_layout.ts";
import { LocalEngine } from "../../src/local/local_engine.ts";
import { closeStore, openStore, saving } from "../../src/local/open_store.ts";
import type { Catalog } from "../../src/shared/contracts.ts";
import { RemoteEngine } from "../../src/shared/engine.ts";
import type { StorageOptions } from "../../src/model/storage_options.ts";
import { type SavingCase, testSaving } from "../contract/saving.ts";
import {
  bytes,
  flipBit,
  namesIn,
  sampleTx,
  tempDir,
  test,
} from "../helpers.ts";
import { SharedStore } from "../shared/remote_helpers.ts";
import { nextTurn } from "../../src/async/turn.ts";

async function local(options: StorageOptions = {}): Promise<SavingCase> {
  const dir = await tempDir();
  const base = dir.join("base");
  const opened: LocalEngine[] = [];
  const again = async () => {
    const engine = await LocalEngine.open(
      base,
      dir.join("poh.db"),
      options,
      true,
    );
    opened.push(engine);
    return engine;
  };
  return {
    engine: await again(),
    again,
    lose: (txId) => Deno.remove(join(base, placeOf(txId))),
    damage: (txId) => flipBit(join(base, placeOf(txId))),
    stored: (txId) => Deno.readFile(join(base, placeOf(txId))),
    async [Symbol.asyncDispose]() {
      for (const engine of opened) await engine.close();
      assertEquals(namesIn(base, ".poh", "staged"), []);
      await dir[Symbol.asyncDispose]();
    },
  };
}

testSaving("a store on one machine", local);
testSaving("one without syncs", () => local({ durability: "relaxed" }));

testSaving("a store that machines share", async () => {
  const store = await SharedStore.make();
  const { engine, catalog } = await store.node();
  const pathOf = async (txId: string) =>
    store.path((await catalog.find([txId]))[0]!.key);
  return {
    engine,
    again: async () => (await store.node()).engine,
    lose: async (txId) => Deno.remove(await pathOf(txId)),
    damage: async (txId) => flipBit(await pathOf(txId)),
    stored: async (txId) => Deno.readFile(await pathOf(txId)),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
});

test("a save looks its id up once, on one machine", async () => {
  await using dir = await tempDir();
  const store = await openStore(dir.join("base"), dir.join("poh.db"), {}, {
    create: true,
  });
  const { rows, writer } = store;
  try {
    let lookUps = 0;
    const { getById, allInTable } = rows;
    rows.getById = (...args) => {
      if (args[0] === rows.columns.get) lookUps++;
      return getById.apply(rows, args);
    };
    rows.allInTable = (sql, ...params) => {
      const [ids] = params;
      if (sql.includes("json_each")) lookUps += JSON.parse(`${ids}`).length;
      return allInTable.call(rows, sql, ...params);
    };
    const saveAll = () =>
      Promise.all(
        Array.from({ length: 10 }, (_, n) => {
          const { payload, ...head } = sampleTx({ txId: `${n}` });
          const storageHash = "ab".repeat(32);
          const info = { ...head, storageHash, size: payload.length };
          const entry = saving(info, { payload, isPacked: false });
          return writer!.queue.save({ entry }, "fail");
        }),
      );
    for (let n = 1; n <= 2; n++) {
      await saveAll();
      assertEquals(lookUps, 10 * n);
      while (rows.deferred.size > 0) await nextTurn();
    }
  } finally {
    await closeStore(store);
  }
});

test("nor where machines share the store", async () => {
  await using store = await SharedStore.make();
  const { objects, catalog, close } = await store.node();
  const asked: string[] = [];
  const spied = new Proxy<Catalog>(catalog, {
    get(target, name) {
      const member = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (name === "find" || name === "commit") asked.push(name);
        return member.apply(target, args);
      };
    },
  });
  const { driver } = catalog;
  const engine = new RemoteEngine({ objects, catalog: spied, driver });
  const save = (content: string) => {
    const { payload: _, ...head } = sampleTx();
    return engine.save(head, bytes(content), "keep");
  };
  await save("one");
  assertEquals(asked.splice(0), ["commit"]);
  assertEquals((await save("one")).outcome, "unchanged");
  assertEquals((await save("two")).outcome, "kept");
  // What is there needs no commit.
  assertEquals(asked, ["find", "find"]);
  await engine.close();
  await close();
});
