import { assertEquals, assertRejects } from "@std/assert";
import { SqliteStore, type SqliteStoreOptions } from "../../mod.ts";
import { sampleInfo, testMetadataStore } from "../contract/metadata_store.ts";
import { drivers, type TempDir, tempDir, testDrivers } from "../helpers.ts";

for (const driver of drivers()) {
  testMetadataStore(`SqliteStore [${driver}]`, async () => {
    const dir = await tempDir();
    let store = await openStore(dir, { driver });
    return {
      store,
      async reopen() {
        await store.close();
        return store = await openStore(dir, { driver });
      },
      async [Symbol.asyncDispose]() {
        await store.close();
        await dir[Symbol.asyncDispose]();
      },
    };
  });
}

async function openStore(dir: TempDir, options: SqliteStoreOptions) {
  const store = await SqliteStore.open(dir.join("poh.db"), options);
  await store.init();
  return store;
}

testDrivers("a read-only store refuses every change", async (driver) => {
  await using dir = await tempDir();
  await using store = await openStore(dir, { driver });
  await store.save(sampleInfo());
  await using reader = await openStore(dir, { driver, readOnly: true });
  await assertRejects(() => reader.save(sampleInfo({ size: 1 })));
  await assertRejects(() => reader.remove("a"));
  assertEquals(await reader.load("a"), sampleInfo());
});
