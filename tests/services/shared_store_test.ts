// Several processes on one store, real servers, real faults: what was
// acknowledged is there afterwards, and nothing else.

import { assert, assertEquals } from "@std/assert";
import { StoreBusyError } from "../../mod.ts";
import { openParts } from "../../src/shared/open.ts";
import { RemoteEngine } from "../../src/shared/engine.ts";
import { tempDir } from "../helpers.ts";
import { Model, type NodeProcess, startNode } from "../shared/remote_model.ts";
import { ceph } from "./ceph.ts";
import { type Fault, FaultProxy, SLOW_DOWN } from "./fault_proxy.ts";
import { postgres, type PostgresServer, storeUrl } from "./postgres.ts";
import { type S3Server, TestBucket, variablesOf } from "./s3_server.ts";
import { swift } from "./swift.ts";

/** How long the nodes of a test live, in ms. */
const LIFE = Number(envOf("POH_TEST_SECONDS") ?? 6) * 1000;

/** Orphans may be taken for such after so many seconds, here. */
const GRACE = 3;

const server = await postgres();
const cluster = server && await ceph(true);
const small = server && await swift();
const isLocal = server !== null && envOf("POH_TEST_POSTGRES") === undefined;

function test(
  name: string,
  fn: () => Promise<void>,
  options: { ignore?: boolean } = {},
): void {
  Deno.test({ ...options, name, timeout: 2 * LIFE + 90_000, fn });
}

/** A new store. */
interface Made extends AsyncDisposable {
  base: string;
  db: string;
  /** With what its nodes sign. */
  env: Record<string, string>;
}

/** Where a store may be. */
interface Place {
  isThere: boolean;
  make(): Promise<Made>;
}

const FOLDER: Place = {
  isThere: server !== null,
  async make() {
    const dir = await tempDir();
    return {
      base: dir.path,
      db: storeUrl(server!),
      env: {},
      [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
    };
  },
};

function bucketOf(gateway: S3Server | null): Place {
  return {
    isThere: gateway !== null,
    async make() {
      const bucket = await TestBucket.make(gateway!);
      return {
        base: bucket.url(),
        db: storeUrl(server!),
        env: variablesOf(gateway!),
        [Symbol.asyncDispose]: () => bucket[Symbol.asyncDispose](),
      };
    },
  };
}

/** The same with metadata in SQLite. */
function withSqlite({ isThere, make }: Place): Place {
  return {
    isThere,
    async make() {
      const dir = await tempDir();
      const made = await make();
      return {
        ...made,
        db: dir.join("catalog.db"),
        async [Symbol.asyncDispose]() {
          await made[Symbol.asyncDispose]();
          await dir[Symbol.asyncDispose]();
        },
      };
    },
  };
}

const CEPH = bucketOf(cluster);

const PLACES: Record<string, Place> = {
  folder: FOLDER,
  bucket: CEPH,
  "bucket with SQLite": withSqlite(CEPH),
  ...small && { "bucket of Swift": bucketOf(small) },
};

/** Nodes on one store, until they are ended or killed. */
class Lives implements AsyncDisposable {
  readonly model = new Model();
  readonly #store: Made;
  readonly #nodes = new Map<string, NodeProcess>();

  private constructor(store: Made) {
    this.#store = store;
  }

  /** A new store, with no node yet. */
  static async make(place: Place): Promise<Lives> {
    const lives = new Lives(await place.make());
    await (await lives.open()).close(); // makes it
    return lives;
  }

  /** Opens the store from here. */
  async open(): Promise<RemoteEngine> {
    const { base, db, env } = this.#store;
    const parts = await withVariables(
      env,
      () => openParts(base, db, { create: true }),
    );
    return new RemoteEngine(parts, { grace: GRACE });
  }

  async start(name: string): Promise<void> {
    const role = name === "check" || name === "prune" ? name : "write";
    const node = await startNode(
      this.model,
      { ...this.#store, grace: GRACE },
      role,
      name,
      this.#store.env,
    );
    this.#nodes.set(name, node);
  }

  /** Kills a node, and starts another in its place. */
  async replace(name: string): Promise<void> {
    await this.#nodes.get(name)!.kill();
    await this.start(name);
  }

  /** Lets all come to their end, and holds the store against the model. */
  async end(isPruned: boolean): Promise<void> {
    await Promise.all(Array.from(this.#nodes, async ([name, node]) => {
      await node.end();
      this.#nodes.delete(name);
    }));
    const engine = await this.open();
    try {
      await this.model.check(engine, isPruned);
      await pause(GRACE * 1000 + 500);
      await recovered(engine);
      assertEquals((await recovered(engine)).findings, []);
      await this.model.check(engine, isPruned);
    } finally {
      await engine.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.values()) await node.kill();
    await this.#store[Symbol.asyncDispose]();
  }
}

/** Recovers, once the right to do so of one who was killed has run out. */
async function recovered(engine: RemoteEngine) {
  while (true) {
    try {
      return await engine.recover({ orphans: "quarantine" });
    } catch (error) {
      if (!(error instanceof StoreBusyError)) throw error;
      await pause(500);
    }
  }
}

// --- what nodes do to each other --------------------------------------------

for (const [kind, place] of Object.entries(PLACES)) {
  test(
    `${kind}: processes are killed while others save, delete, prune and recover`,
    async () => {
      await using lives = await Lives.make(place);
      const names = ["one", "two", "pruned"];
      await Promise.all(
        [...names, "check", "prune"].map((n) => lives.start(n)),
      );
      for (const end = Date.now() + LIFE; Date.now() < end;) {
        await pause(300 + Math.random() * 700);
        await lives.replace(names[Math.floor(Math.random() * names.length)]!);
      }
      await lives.end(true);
      assert(lives.model.checks.length > 0, "nothing was recovered meanwhile");
    },
    { ignore: !place.isThere },
  );
}

// --- what servers do --------------------------------------------------------

async function faults(
  place: Place,
  everyMs: number,
  fault: () => Promise<unknown>,
): Promise<void> {
  await using lives = await Lives.make(place);
  for (const name of ["one", "two", "check"]) await lives.start(name);
  for (const end = Date.now() + LIFE; Date.now() < end;) {
    await pause(everyMs);
    await fault();
  }
  await lives.end(false);
}

test(
  "the connections of writers are ended by PostgreSQL",
  () => faults(FOLDER, 300, () => terminateAll(server!)),
  {
    ignore: !isLocal,
  },
);

test(
  "PostgreSQL is killed and started again under writers",
  () =>
    faults(FOLDER, 1_500, async () => {
      await server!.kill();
      await pause(300);
      await server!.start();
    }),
  { ignore: !isLocal },
);

function testGateway(name: string, server: S3Server | null): void {
  test(
    `${name} is killed and started again under writers`,
    () =>
      faults(bucketOf(server), 1_500, async () => {
        await server!.killGateway();
        await pause(300);
        await server!.startGateway();
      }),
    { ignore: server === null },
  );
}

testGateway("radosgw", cluster);
if (small) testGateway("the proxy of Swift", small);

test(
  "one of three OSDs is killed and brought back under writers",
  () =>
    faults(CEPH, 1_000, async () => {
      // Always the same: the two others have all that was acknowledged.
      await cluster!.killOsd(1);
      await pause(2_000);
      await cluster!.restartOsd(1);
    }),
  { ignore: !CEPH.isThere },
);

/** What a bad network does to a question or its answer. */
const FAULTS: Fault[] = [
  { kind: "reset-before" },
  { kind: "reset-during", after: 500 },
  { kind: "reset-after" },
  { kind: "reset-answer", after: 300 },
  { kind: "flip" },
  SLOW_DOWN,
  SLOW_DOWN,
];

test(
  "the network to the bucket breaks, falsifies, floods and swallows under writers",
  async () => {
    await using proxy = new FaultProxy(cluster!.port);
    await using lives = await Lives.make({
      isThere: true,
      async make() {
        const made = await CEPH.make();
        const base = made.base.replace(cluster!.endpoint, proxy.endpoint);
        return { ...made, base };
      },
    });
    for (const name of ["one", "two", "check"]) await lives.start(name);
    proxy.fault = () => {
      const dice = Math.random();
      if (dice < 0.002) return { kind: "black-hole" };
      return dice < 0.1
        ? FAULTS[Math.floor(Math.random() * FAULTS.length)]!
        : null;
    };
    await pause(LIFE);
    proxy.heal();
    await lives.end(false);
    assert(proxy.count > 10, `${proxy.count} faults`);
  },
  { ignore: !CEPH.isThere },
);

function terminateAll(server: PostgresServer): Promise<unknown> {
  return server.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'poh-storage'`,
  );
}

/** The environment belongs to other tests as well. */
async function withVariables<T>(
  env: Record<string, string>,
  work: () => Promise<T>,
): Promise<T> {
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    return await work();
  } finally {
    for (const name of Object.keys(env)) Deno.env.delete(name);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function envOf(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}
