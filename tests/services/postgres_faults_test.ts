/**
 * A server that goes away, and networks that lose, keep and break: what was
 * acknowledged is so, once.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { PohStorageError } from "../../mod.ts";
import {
  PostgresStore,
  type PostgresStoreOptions,
} from "../../src/shared/postgres/postgres_store.ts";
import type {
  CatalogChange,
  CatalogEntry,
} from "../../src/shared/contracts.ts";
import {
  entry,
  put,
  remove,
  retiredKeys,
  versionOf,
} from "../contract/catalog.ts";
import { seededRandom, TIME_LIMIT, within } from "../helpers.ts";
import { type Fault, FaultProxy } from "./fault_proxy.ts";
import { NO_POSTGRES, startPostgres, storeUrl } from "./postgres.ts";

if (NO_POSTGRES) console.error(`Tests of faults are skipped: ${NO_POSTGRES}`);

// A server that does not wait for the disk unless it is told to.
const server = NO_POSTGRES
  ? null
  : await startPostgres({ settings: ["synchronous_commit=off"] });

test("backends are terminated while writers write", async () => {
  await using store = await newStore({});
  await using writers = new Writers(store.store, 6);
  for (let n = 0; n < 25; n++) {
    await pause(80);
    await server!.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'poh'",
    );
  }
  await writers.endAndCheck(100);
});

test("the server is killed and started again while writers write", async () => {
  await using store = await newStore({});
  await using writers = new Writers(store.store, 6);
  for (let n = 0; n < 2; n++) {
    await pause(500);
    await server!.kill();
    await pause(300);
    await server!.start();
  }
  await pause(500);
  await writers.endAndCheck(100);
});

test("connections break before, in and after statements", async () => {
  await using proxy = new FaultProxy(server!.port);
  await using store = await newStore({}, proxy);
  await using writers = new Writers(store.store, 6);
  const faults: Fault[] = [
    { kind: "reset-before" },
    { kind: "reset-during", after: 1 },
    { kind: "reset-after" },
    { kind: "reset-answer", after: 1 },
  ];
  const random = seededRandom(1);
  proxy.fault = () => faults[Math.floor(random() * 100)] ?? null;
  await pause(3_000);
  proxy.heal();
  await writers.endAndCheck(50);
  assert(proxy.count > 10, `${proxy.count} faults`);
});

test("answers alone are lost", async () => {
  await using proxy = new FaultProxy(server!.port);
  await using store = await newStore({}, proxy);
  await using writers = new Writers(store.store, 6);
  const random = seededRandom(2);
  proxy.fault = (question) =>
    random() < 0.3 && /commit /i.test(new TextDecoder().decode(question))
      ? { kind: "reset-after" }
      : null;
  await pause(3_000);
  proxy.heal();
  await writers.endAndCheck(20);
  assert(proxy.count > 10, `${proxy.count} faults`);
});

test("a black hole is noticed, and left when there is a way out", async () => {
  await using proxy = new FaultProxy(server!.port);
  await using store = await newStore(HASTY, proxy);
  await using writers = new Writers(store.store, 4);
  await pause(300);
  proxy.befall({ kind: "black-hole" }, 1);
  await pause(2_500);
  proxy.heal();
  await pause(1_500);
  await writers.endAndCheck(20);
});

test("nobody waits for a black hole for ever", async () => {
  await using proxy = new FaultProxy(server!.port);
  await using store = await newStore({ ...HASTY, patience: 1_000 }, proxy);
  await store.store.commit([put(entry("a"))]);
  proxy.befall({ kind: "black-hole" }, 1);
  for (
    const work of [
      () => store.store.commit([put(entry("b"))]),
      () => store.store.find(["a"]),
      () => store.store.listIds(),
    ]
  ) {
    const error = await within(
      12_000,
      assertRejects(work, PohStorageError, "Cannot reach postgres://poh@"),
    );
    assertEquals(error.code, "UNREACHABLE");
    assert(!error.message.includes("secret"));
  }
  proxy.heal();
  assertEquals((await store.store.find(["a"]))[0], entry("a"));
});

test("a statement that arrives long after it was sent anew changes nothing", async () => {
  await using proxy = new FaultProxy(server!.port);
  await using slow = await newStore(HASTY, proxy);
  await using other = await newStore({}, undefined, slow.url);
  const [a, b] = [entry("a", versionOf("a")), entry("a", versionOf("a"))];
  await slow.store.commit([put(a), put(entry("x"))]);
  const delivery = Promise.withResolvers<void>();
  proxy.befallNext({ kind: "late", until: delivery.promise });
  assertEquals(await slow.store.commit([remove("a")]), ["removed"]);
  assertEquals(await other.store.commit([put(b)]), ["created"]);
  delivery.resolve();
  await pause(500);
  assertEquals(await other.store.find(["a"]), [b]);
});

test("a store is closed in a black hole too", async () => {
  await using proxy = new FaultProxy(server!.port);
  const { store } = await newStore(HASTY, proxy);
  await Promise.all([store.commit([put(entry("a"))]), store.count()]);
  proxy.befall({ kind: "black-hole" }, 1);
  await within(8_000, store.close());
});

test("what takes long is waited for while the server answers others", async () => {
  await using store = await newStore({ ...HASTY, patience: 1_000 });
  await store.store.commit([put(entry("a"))]);
  const schema = new URL(store.url).searchParams.get("schema");
  const locked = server!.sql(
    `BEGIN; LOCK TABLE ${schema}.txs; SELECT pg_sleep(4); COMMIT`,
  );
  await pause(200);
  const start = performance.now();
  assertEquals(await store.store.listIds(), ["a"]);
  assert(performance.now() - start > 3_000);
  await locked;
});

test("the lease of one that is cut off ends, and with it its rights", async () => {
  await using proxy = new FaultProxy(server!.port);
  const options = { ...HASTY, leaseSeconds: 2 };
  await using cut = await newStore(options, proxy);
  await using other = await newStore(options, undefined, cut.url);
  await using lost = await cut.store.lease();
  await pause(2_500);
  assertEquals(lost.signal.aborted, false); // it was renewed
  await assertRejects(() => other.store.lease());
  proxy.befall({ kind: "black-hole" }, 1);
  await within(
    3_000,
    new Promise<void>((resolve) =>
      lost.signal.addEventListener("abort", () => resolve())
    ),
  );
  await pause(1_000);
  await using lease = await other.store.lease();
  assert(lease.token > lost.token);
  proxy.heal();
  const error = await assertRejects(
    () => cut.store.commit([put(entry("a"))], lost.token),
    PohStorageError,
  );
  assertEquals(error.code, "LEASE_LOST");
  assertEquals(await other.store.count(), 0);
});

test("a lease is not mistaken for one that the server has forgotten", async () => {
  await using one = await newStore({ leaseSeconds: 20 });
  await using other = await newStore({}, undefined, one.url);
  const schema = new URL(one.url).searchParams.get("schema");
  await using forgotten = await one.store.lease();
  // A standby that was behind takes over.
  await server!.sql(
    `UPDATE ${schema}.leases SET token = token - 1, expires = 0, owner = ''`,
  );
  await using lease = await other.store.lease();
  const changes = [put(entry("a"))];
  await assertRejects(() => one.store.commit(changes, forgotten.token));
  assertEquals(await other.store.commit(changes, lease.token), ["created"]);
});

test("what a standby is to have is acknowledged once it has it", async () => {
  await using own = await startPostgres();
  const set = async (setting: string) => {
    await own.sql(`ALTER SYSTEM ${setting}`);
    await own.sql("SELECT pg_reload_conf()");
  };
  await using store = PostgresStore.open(storeUrl(own));
  await store.init();
  await store.commit([put(entry("a"))]);
  await set("SET synchronous_standby_names = 'standby'");
  let isMade = false;
  const commit = store.commit([put(entry("b"))]).finally(() => isMade = true);
  for (let n = 0; n < 3; n++) {
    await pause(500);
    await own.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE wait_event = 'SyncRep'`,
    );
  }
  await pause(500);
  assertEquals(isMade, false);
  await set("RESET synchronous_standby_names");
  assertEquals(await commit, ["created"]);
});

test("nothing is committed where the settings of a connection do not stay", async () => {
  await using proxy = new FaultProxy(server!.port);
  await using sound = await newStore({});
  proxy.fault = (question) => {
    replace(question, "= 'repeatable read'", "= 'read committed' ");
    return null;
  };
  await using pooled = await newStore({}, proxy, sound.url);
  const error = await assertRejects(
    () => pooled.store.commit([put(entry("a"))]),
    PohStorageError,
    "pool_mode=session",
  );
  assertEquals(error.code, "DATABASE");
  assertEquals(await sound.store.count(), 0);
});

test("several nodes may make the tables at the same time", async () => {
  const url = storeUrl(server!);
  const stores = Array.from({ length: 6 }, () => PostgresStore.open(url));
  await Promise.all(stores.map((store) => store.init()));
  for (const [n, store] of stores.entries()) {
    await store.save(entry(`id-${n}`).info);
  }
  assertEquals(await stores[0]!.count(), stores.length);
  for (const store of stores) await store.close();
});

/** Limits under which faults are noticed while a test waits. */
const HASTY: PostgresStoreOptions = { statementTimeout: 500 };

interface OpenedStore extends AsyncDisposable {
  store: PostgresStore;
  url: string;
}

async function newStore(
  options: PostgresStoreOptions,
  proxy?: FaultProxy,
  url = storeUrl(server!),
): Promise<OpenedStore> {
  const way = new URL(url);
  if (proxy) way.port = `${proxy.port}`;
  if (proxy) way.searchParams.set("connect_timeout", "1");
  const store = PostgresStore.open(way.href, options);
  await store.init();
  return { store, url, [Symbol.asyncDispose]: () => store.close() };
}

/**
 * Each changes ids of its own and knows what comes of every change: whatever
 * happens on the way, each is made once, and told so.
 */
class Writers implements AsyncDisposable {
  readonly #store: PostgresStore;
  readonly #rows = new Map<string, CatalogEntry>();
  readonly #retired: string[] = [];
  readonly #work: Promise<void>[];
  #commits = 0;
  #ending = false;

  constructor(store: PostgresStore, count: number) {
    this.#store = store;
    this.#work = Array.from({ length: count }, (_, n) => this.#write(n));
    for (const work of this.#work) work.catch(() => {});
  }

  async endAndCheck(atLeast: number): Promise<void> {
    this.#ending = true;
    await Promise.all(this.#work);
    assert(this.#commits >= atLeast, `${this.#commits} commits`);
    const rows = await Array.fromAsync(this.#store.entries());
    assertEquals(rows.length, this.#rows.size);
    for (const row of rows) assertEquals(row, this.#rows.get(row.info.txId));
    assertEquals(await retiredKeys(this.#store), this.#retired.toSorted());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending = true;
    await Promise.allSettled(this.#work);
  }

  async #write(writer: number): Promise<void> {
    const random = seededRandom(writer);
    const below = (n: number) => Math.floor(random() * n);
    while (!this.#ending) {
      const changes: CatalogChange[] = [];
      const expected: string[] = [];
      const before: CatalogEntry[] = [];
      for (let n = 1 + below(8); n > 0; n--) {
        const txId = `w${writer}-${below(20)}`;
        const row = this.#rows.get(txId);
        const next = entry(txId, versionOf(txId), { size: below(1_000) });
        const seen = below(3) ? undefined : row ?? next;
        const isRemoval = below(3) === 0;
        changes.push(
          isRemoval ? remove(txId, seen) : put(next, seen && { seen }),
        );
        if (row ? false : isRemoval || seen) {
          expected.push("unchanged");
          continue;
        }
        expected.push(isRemoval ? "removed" : row ? "same" : "created");
        if (row) before.push(row);
        if (isRemoval) this.#rows.delete(txId);
        else this.#rows.set(txId, next);
      }
      assertEquals(await this.#store.commit(changes), expected);
      this.#retired.push(...before.map(({ key }) => key));
      this.#commits++;
    }
  }
}

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: `PostgreSQL: ${name}`,
    ignore: server === null,
    timeout: TIME_LIMIT,
    fn,
  });
}

/** Replaces a text by one of the same length, where it stands. */
function replace(data: Uint8Array, text: string, by: string): void {
  const at = new TextDecoder("latin1").decode(data).indexOf(text);
  if (at >= 0) data.set(new TextEncoder().encode(by), at);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
