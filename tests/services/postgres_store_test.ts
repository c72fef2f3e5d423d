import { assert, assertEquals, assertRejects } from "@std/assert";
import { join } from "@std/path";
import {
  describeStore,
  InvalidTxError,
  PohStorageError,
  StorageManager,
  StoreClosedError,
  StoreNotFoundError,
  TxExistsError,
} from "../../mod.ts";
import { PostgresStore } from "../../src/shared/postgres/postgres_store.ts";
import {
  commit,
  entry,
  put,
  remove,
  testCatalog,
  versionOf,
} from "../contract/catalog.ts";
import { testMetadataStore } from "../contract/metadata_store.ts";
import { testTxQueries } from "../contract/tx_queries.ts";
import { testSaving } from "../contract/saving.ts";
import { FileObjects } from "../../src/shared/file_objects.ts";
import { RemoteEngine } from "../../src/shared/engine.ts";
import {
  denoScript,
  flipBit,
  outputOf,
  sampleTx,
  tempDir,
  TIME_LIMIT,
  within,
} from "../helpers.ts";
import { postgres, storeUrl } from "./postgres.ts";

const server = await postgres();
const options = { ignore: server === null };

async function emptyStore() {
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
}

testMetadataStore("PostgresStore", emptyStore, options);

testTxQueries("PostgresStore", emptyStore, options);

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
      const schema = schemaOf(url);
      await server!.sql(
        `UPDATE ${schema}.retired SET at = at - ${seconds};
        UPDATE ${schema}.leases SET expires = expires - ${seconds}`,
      );
    },
    async [Symbol.asyncDispose]() {
      for (const store of opened) await store.close();
    },
  };
}, options);

test("several stores share a database", async () => {
  const urls = [storeUrl(server!), storeUrl(server!)];
  await using one = await open(urls[0]!);
  await using two = await open(urls[1]!);
  await commit(one, put(entry("a")), put(entry("b")), remove("b"));
  await commit(two, put(entry("b")));
  assertEquals([await one.listIds(), await two.listIds()], [["a"], ["b"]]);
  assertEquals(await two.retired(9), []);
  await using lease = await one.lease();
  await using other = await two.lease();
  assert(lease.token > 0 && other.token > 0);
});

testSaving("nodes with PostgreSQL", async () => {
  const url = storeUrl(server!);
  const dir = await tempDir();
  const opened: RemoteEngine[] = [];
  const make = async () => {
    const objects = new FileObjects(dir.path, { sync: false });
    await objects.init();
    const catalog = await open(url);
    const driver = {
      name: "postgres",
      library: "",
      sqliteVersion: "",
    } as const;
    const engine = new RemoteEngine({ objects, catalog, driver });
    opened.push(engine);
    return { engine, catalog };
  };
  const { engine, catalog } = await make();
  const pathOf = async (txId: string) =>
    join(dir.path, (await catalog.find([txId]))[0]!.key);
  return {
    engine,
    again: async () => (await make()).engine,
    lose: async (txId) => Deno.remove(await pathOf(txId)),
    damage: async (txId) => flipBit(await pathOf(txId)),
    stored: async (txId) => Deno.readFile(await pathOf(txId)),
    async [Symbol.asyncDispose]() {
      for (const engine of opened) await engine.close();
      await dir[Symbol.asyncDispose]();
    },
  };
}, options);

test("a store of nodes that is made write-once stays so", async () => {
  await using dir = await tempDir();
  const url = storeUrl(server!);
  const other = sampleTx({ holderId: "bob" });
  for (const writeOnce of [true, undefined, false]) {
    await using store = await StorageManager.create(dir.path, url, {
      ...writeOnce !== undefined && { writeOnce },
    });
    assertEquals(store.writeOnce, true);
    const { outcome } = await store.saveTx(sampleTx());
    assertEquals(outcome, writeOnce ? "created" : "unchanged");
    await assertRejects(() => store.saveTx(other), TxExistsError);
  }
  assertEquals((await describeStore(dir.path, url)).writeOnce, true);
  await using plain = await tempDir();
  const elsewhere = storeUrl(server!);
  const open = (writeOnce: boolean) =>
    StorageManager.create(plain.path, elsewhere, { writeOnce });
  await (await open(false)).close();
  const error = await assertRejects(() => open(true), PohStorageError);
  assertEquals(error.code, "NOT_WRITE_ONCE");
});

test("read-only, a store is used, and none is made", async () => {
  const url = storeUrl(server!);
  const openReadOnly = () => PostgresStore.open(url, { readOnly: true });
  await using before = openReadOnly();
  await assertRejects(() => before.init(), StoreNotFoundError);
  await assertRejects(() => before.count(), StoreNotFoundError);
  const found = await server!.sql(
    "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1",
    [schemaOf(url)],
  );
  assertEquals(found, []);
  await using store = await open(url);
  await commit(store, put(entry("a")));
  await using after = openReadOnly();
  await after.init();
  assertEquals(await after.listIds(), ["a"]);
});

test("tables of a newer program are left alone", async () => {
  const url = storeUrl(server!);
  await using store = await open(url);
  await server!.sql(
    `UPDATE ${schemaOf(url)}.meta SET value = '99' WHERE name = 'version'`,
  );
  await using older = PostgresStore.open(url);
  const error = await assertRejects(() => older.init(), PohStorageError);
  assertEquals(error.code, "SCHEMA_TOO_NEW");
  assertEquals(await store.count(), 0);
});

test("whoever may not make a schema is content with one given", async () => {
  const role = `role_${crypto.randomUUID().replaceAll("-", "")}`;
  await server!.sql(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`);
  const url = new URL(storeUrl(server!));
  url.username = role;
  url.password = "secret";
  await using refused = PostgresStore.open(url.href);
  const error = await assertRejects(() => refused.init(), PohStorageError);
  assertEquals(error.code, "DENIED");
  await server!.sql(
    `CREATE SCHEMA ${schemaOf(url.href)} AUTHORIZATION ${role}`,
  );
  await using store = await open(url.href);
  assertEquals(await commit(store, put(entry("a"))), "created");
});

test("a schema with tables of others is refused, and stays as it is", async () => {
  const url = storeUrl(server!);
  await server!.sql(
    `CREATE SCHEMA ${schemaOf(url)} AUTHORIZATION poh;
    CREATE TABLE ${schemaOf(url)}.txs (theirs INT)`,
  );
  await using store = PostgresStore.open(url);
  const error = await within(
    10_000,
    assertRejects(() => store.init(), PohStorageError, '"txs" already exists'),
  );
  assertEquals(error.code, "DATABASE");
  assertEquals(await server!.sql(`SELECT * FROM ${schemaOf(url)}.txs`), []);
});

test("a holder's id that no index takes is refused as such", async () => {
  await using store = await open(storeUrl(server!));
  const longest = randomText(2_048), longer = `${longest}x`;
  const txId = "x".repeat(251);
  assertEquals(
    await commit(store, put(entry(txId, undefined, { holderId: longest }))),
    "created",
  );
  const error = await assertRejects(
    () => store.commit([put(entry("a", undefined, { holderId: longer }))]),
    InvalidTxError,
    'of tx "a" is longer than the 2048 bytes',
  );
  assertEquals(error.field, "holder_id");
  assertEquals(await store.count(), 1);
});

test("close() lets what is under way come to its end, and nothing begin", async () => {
  await using store = await open(storeUrl(server!));
  const finds = Array.from({ length: 40 }, () => store.now());
  await store.close();
  const ends = await Promise.allSettled(finds);
  for (const end of ends) {
    if (end.status === "rejected") {
      assert(end.reason instanceof StoreClosedError);
    }
  }
  assert(ends.some(({ status }) => status === "fulfilled"));
});

test("a wrong password is told, and not repeated", async () => {
  const url = new URL(storeUrl(server!));
  url.password = "hush";
  await using store = PostgresStore.open(url.href);
  const error = await assertRejects(() => store.init(), PohStorageError);
  assertEquals(error.code, "DENIED");
  assert(!Deno.inspect(error, { depth: 20 }).includes("hush"));
  assert(!Deno.inspect(store, { depth: 20 }).includes("hush"));
  url.password = "";
  await using without = PostgresStore.open(url.href);
  await assertRejects(() => without.init(), PohStorageError, "asks for a");
});

test("a database that is not there is no store", async () => {
  const url = new URL(storeUrl(server!));
  url.pathname = "/nowhere";
  await using store = PostgresStore.open(url.href);
  await assertRejects(() => store.init(), StoreNotFoundError, "/nowhere");
});

test("the network is all that a program has to be allowed", async () => {
  const url = storeUrl(server!);
  const permissions = [`--allow-net=127.0.0.1:${server!.port}`];
  const { code, stdout, stderr } = await outputOf(
    denoScript("postgres.ts", [url], {
      permissions,
      stdout: "piped",
      stderr: "piped",
    }),
  );
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: '[ "a" ]\n',
    stderr: "",
  });
});

test("commits go on where the server has forgotten some", async () => {
  const url = storeUrl(server!);
  await using store = await open(url);
  const schema = schemaOf(url);
  for (
    const forget of [
      `UPDATE ${schema}.commits SET seq = seq - 1`,
      `DELETE FROM ${schema}.commits`,
    ]
  ) {
    await commit(store, put(entry("a", versionOf("a"))));
    await server!.sql(forget);
    const next = entry("a", versionOf("a"));
    assertEquals(await commit(store, put(next)), "same");
    assertEquals(await store.find(["a"]), [next]);
  }
});

test("of those who have died nothing is left after a grace", async () => {
  const url = storeUrl(server!);
  const slots = async () =>
    (await server!.sql(`SELECT 1 FROM ${schemaOf(url)}.commits`)).length;
  await using store = await open(url);
  await commit(store, put(entry("a")));
  await server!.sql(`UPDATE ${schemaOf(url)}.commits SET at = at - 7200`);
  assertEquals(await slots(), 1);
  await store.forgetRetired();
  assertEquals(await slots(), 0);
  assertEquals(await commit(store, put(entry("b"))), "created");
  assertEquals(await slots(), 1);
  await store.close();
  assertEquals(await slots(), 0);
});

test("boundaries() of a large table come from a sample of it", async () => {
  const url = storeUrl(server!), rows = 60_000, ranges = 3;
  await using store = await open(url);
  const txs = `${schemaOf(url)}.txs`;
  await server!.sql(
    `INSERT INTO ${txs} SELECT md5(n::text), '', n, '', 0
    FROM generate_series(1, ${rows}) n; ANALYZE ${txs}`,
  );
  const cuts = await store.boundaries(ranges);
  assertEquals(cuts.length, ranges - 1);
  for (let n = 0; n < ranges; n++) {
    const [row] = await server!.sql(
      `SELECT count(*)::int AS length FROM ${txs}
      WHERE tx_id > $1 COLLATE "C" AND tx_id <= $2 COLLATE "C"`,
      [cuts[n - 1] ?? "", cuts[n] ?? "z"],
    );
    const share = row!.length as number / (rows / ranges);
    assert(share > 0.7 && share < 1.4, `${share}`);
  }
});

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({
    ...options,
    name: `PostgresStore: ${name}`,
    timeout: TIME_LIMIT,
    fn,
  });
}

/** Text that does not get shorter when it is compressed. */
function randomText(length: number): string {
  return crypto.getRandomValues(new Uint8Array(length / 2)).toHex();
}

function schemaOf(url: string): string {
  return new URL(url).searchParams.get("schema")!;
}

async function open(url: string): Promise<PostgresStore> {
  const store = PostgresStore.open(url, { leaseSeconds: 3 });
  await store.init();
  return store;
}
