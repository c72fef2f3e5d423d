import { assertEquals } from "@std/assert";
import { basename, join } from "@std/path";
import { StorageManager } from "../../mod.ts";
import { IS_WINDOWS, sampleTx, tempStore, test } from "../helpers.ts";

/** Writes down the names of what is waited for, until it is disposed. */
function syncedNames(): Disposable & { has(name: string): boolean } {
  const { open, openSync } = Deno;
  const file = Deno.FsFile.prototype;
  const { sync, syncSync, syncData, syncDataSync } = file;
  const names = new WeakMap<Deno.FsFile, string>();
  const synced = new Set<string>();
  const noting = <T>(original: () => T) =>
    function (this: Deno.FsFile): T {
      synced.add(names.get(this) ?? "");
      return original.call(this);
    };
  Object.assign(Deno, {
    async open(path: string, options?: Deno.OpenOptions) {
      const opened = await open(path, options);
      names.set(opened, basename(path));
      return opened;
    },
    openSync(path: string, options?: Deno.OpenOptions) {
      const opened = openSync(path, options);
      names.set(opened, basename(path));
      return opened;
    },
  });
  file.sync = noting(sync);
  file.syncSync = noting(syncSync);
  file.syncData = noting(syncData);
  file.syncDataSync = noting(syncDataSync);
  return {
    has: (name) => synced.has(name),
    [Symbol.dispose]() {
      Object.assign(Deno, { open, openSync });
      Object.assign(file, { sync, syncSync, syncData, syncDataSync });
    },
  };
}

test(
  "a writer that waits for no disk does for what others have saved",
  async () => {
    await using temp = await tempStore();
    const { base, db } = temp;
    await temp.store.saveTx(sampleTx({ txId: "a" }));
    const other = await StorageManager.open(base, db, {
      durability: "relaxed",
    });
    await other.saveTx(sampleTx({ txId: "b" }));
    using synced = syncedNames();
    await other.compact(); // begins with a checkpoint
    const has = ["a.bin", "base", "poh.db-wal"].map((name) => synced.has(name));
    assertEquals(has, [true, true, true]);
    await other.close();
  },
  { ignore: IS_WINDOWS },
);

test(
  "a writer that waits for no disk does for what a crash has left",
  async () => {
    await using temp = await tempStore();
    await temp.store.saveTx(sampleTx({ txId: "a" }));
    await using crash = await temp.snapshot();
    const log = join(crash.base, ".poh", "log");
    const left = [...Deno.readDirSync(log)].map(({ name }) => name);
    using synced = syncedNames();
    const store = await crash.open({ durability: "relaxed" });
    for (const name of ["a.bin", "base", "poh.db-wal", "00000001.seg"]) {
      assertEquals(synced.has(name), true, `${name} of ${left}`);
    }
    await store.close();
  },
  { ignore: IS_WINDOWS },
);

test("a writer that waits for no disk does not for what is its own", async () => {
  await using temp = await tempStore({ durability: "relaxed" });
  await temp.close();
  using synced = syncedNames();
  const store = await temp.open();
  await store.saveTx(sampleTx({ txId: "a" }));
  await store.close();
  const has = ["a.bin", "base", "poh.db-wal"].map((name) => synced.has(name));
  assertEquals(has, [false, false, false]);
});
