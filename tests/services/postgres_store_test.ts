import { PostgresStore } from "../../src/postgres/postgres_store.ts";
import { testCatalog } from "../contract/catalog.ts";
import { testMetadataStore } from "../contract/metadata_store.ts";
import { postgres, storeUrl } from "./postgres.ts";

const server = await postgres();
const options = { ignore: server === null };

testMetadataStore("PostgresStore", async () => {
  const url = storeUrl(server!);
  let store = await open(url);
  return {
    store,
    async reopen() {
      await store.close();
      return store = await open(url);
    },
    async [Symbol.asyncDispose]() {
      await store.close();
    },
  };
}, options);

testCatalog("PostgresStore", async () => {
  const url = storeUrl(server!);
  const opened = [await open(url)];
  return {
    catalog: opened[0]!,
    async again() {
      const store = await open(url);
      opened.push(store);
      return store;
    },
    async age(seconds) {
      const schema = new URL(url).searchParams.get("schema");
      await server!.sql(
        `UPDATE "${schema}".retired SET at = at - ${seconds};
        UPDATE "${schema}".leases SET expires = expires - ${seconds}`,
      );
    },
    async [Symbol.asyncDispose]() {
      for (const store of opened) await store.close();
    },
  };
}, options);

async function open(url: string): Promise<PostgresStore> {
  const store = PostgresStore.open(url, { leaseSeconds: 3 });
  await store.init();
  return store;
}
