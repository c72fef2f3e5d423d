// Several processes on one store, real servers, real faults: what was
// acknowledged is there afterwards, and nothing else.

import { assert, assertEquals } from "@std/assert";
import { StoreBusyError } from "../../mod.ts";
import { openParts } from "../../src/remote/open.ts";
import { RemoteEngine } from "../../src/remote/remote_engine.ts";
import { tempDir } from "../helpers.ts";
import { Model, type NodeProcess, startNode } from "../remote_model.ts";
import { ACCESS_KEY, SECRET_KEY } from "./ceph.ts";
import { ceph, TestBucket } from "./ceph_store.ts";
import { type Fault, FaultProxy, SLOW_DOWN } from "./fault_proxy.ts";
import { postgres, type PostgresServer, storeUrl } from "./postgres.ts";

const VARIABLES = {
  AWS_ACCESS_KEY_ID: ACCESS_KEY,
  AWS_SECRET_ACCESS_KEY: SECRET_KEY,
};

/** How long the nodes of a test live, in ms. */
const LIFE = Number(envOf("POH_TEST_SECONDS") ?? 6) * 1000;

/** Orphans may be taken for such after so many seconds, here. */
const GRACE = 3;

const server = await postgres();
const gateway = server && await ceph(true);
const isLocal = server !== null && envOf("POH_TEST_POSTGRES") === undefined;

function test(
  name: string,
  fn: () => Promise<void>,
  options: { ignore?: boolean } = {},
): void {
  Deno.test({ ...options, name, timeout: 2 * LIFE + 90_000, fn });
}

/** Where a store may be. */
interface Place {
  isThere: boolean;
  make(): Promise<AsyncDisposable & { base: string; db: string }>;
}

const PLACES = {
  folder: {
    isThere: server !== null,
    async make() {
      const dir = await tempDir();
      return {
        base: dir.path,
        db: storeUrl(server!),
        [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
      };
    },
  },
  bucket: {
    isThere: gateway !== null,
    async make() {
      const bucket = await TestBucket.make(gateway!.endpoint);
      return {
        base: bucket.url(),
        db: storeUrl(server!),
        [Symbol.asyncDispose]: () => bucket[Symbol.asyncDispose](),
      };
    },
  },
  "bucket with SQLite": {
    isThere: gateway !== null,
    async make() {
      const dir = await tempDir();
      const bucket = await TestBucket.make(gateway!.endpoint);
      return {
        base: bucket.url(),
        db: dir.join("catalog.db"),
        async [Symbol.asyncDispose]() {
          await bucket[Symbol.asyncDispose]();
          await dir[Symbol.asyncDispose]();
        },
      };
    },
  },
} satisfies Record<string, Place>;

/** Nodes on one store, until they are ended or killed. */
class Lives implements AsyncDisposable {
  readonly model = new Model();
  readonly #store: { base: string; db: string; grace: number };
  readonly #nodes = new Map<string, NodeProcess>();
  readonly #made: Awaited<ReturnType<Place["make"]>>;

  private constructor(made: Awaited<ReturnType<Place["make"]>>) {
    this.#made = made;
    this.#store = { base: made.base, db: made.db, grace: GRACE };
  }

  /** A new store, with no node yet. */
  static async make(place: Place): Promise<Lives> {
    const lives = new Lives(await place.make());
    await (await lives.open()).close(); // makes it
    return lives;
  }

  /** Opens the store from here. */
  async open(): Promise<RemoteEngine> {
    const { base, db } = this.#store;
    const parts = await withCredentials(() => openParts(base, db, {}));
    return new RemoteEngine(parts, { grace: GRACE });
  }

  async start(name: string): Promise<void> {
    const role = name === "check" || name === "prune" ? name : "write";
    const node = await startNode(
      this.model,
      this.#store,
      role,
      name,
      VARIABLES,
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
    for (const [name, node] of this.#nodes) {
      await node.end();
      this.#nodes.delete(name);
    }
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
    await this.#made[Symbol.asyncDispose]();
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
  () => faults(PLACES.folder, 300, () => terminateAll(server!)),
  {
    ignore: !isLocal,
  },
);

test(
  "PostgreSQL is killed and started again under writers",
  () =>
    faults(PLACES.folder, 1_500, async () => {
      await server!.kill();
      await pause(300);
      await server!.start();
    }),
  { ignore: !isLocal },
);

test(
  "radosgw is killed and started again under writers",
  () =>
    faults(PLACES.bucket, 1_500, async () => {
      await gateway!.killGateway();
      await pause(300);
      await gateway!.startGateway();
    }),
  { ignore: !PLACES.bucket.isThere },
);

test(
  "one of three OSDs is killed and brought back under writers",
  () =>
    faults(PLACES.bucket, 1_000, async () => {
      // Always the same: the two others have all that was acknowledged.
      await gateway!.killOsd(1);
      await pause(2_000);
      await gateway!.restartOsd(1);
    }),
  { ignore: !PLACES.bucket.isThere },
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
    await using proxy = new FaultProxy(gateway!.port);
    await using lives = await Lives.make({
      isThere: true,
      async make() {
        const made = await PLACES.bucket.make();
        const base = made.base.replace(gateway!.endpoint, proxy.endpoint);
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
  { ignore: !PLACES.bucket.isThere },
);

function terminateAll(server: PostgresServer): Promise<unknown> {
  return server.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'poh-storage'`,
  );
}

/** The environment belongs to other tests as well. */
async function withCredentials<T>(work: () => Promise<T>): Promise<T> {
  for (const [name, value] of Object.entries(VARIABLES)) {
    Deno.env.set(name, value);
  }
  try {
    return await work();
  } finally {
    for (const name of Object.keys(VARIABLES)) Deno.env.delete(name);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function envOf(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}
