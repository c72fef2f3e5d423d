// Several processes on one store, real servers, real faults: what was
// acknowledged is there afterwards, and nothing else.

import { assert, assertEquals } from "@std/assert";
import { StoreBusyError } from "../../mod.ts";
import { openParts } from "../../src/remote/open.ts";
import { RemoteEngine } from "../../src/remote/remote_engine.ts";
import { tempDir } from "../helpers.ts";
import { Model, type NodeProcess, startNode } from "../remote_model.ts";
import { postgres, type PostgresServer, storeUrl } from "./postgres.ts";

/** How long the nodes of a test live, in ms. */
const LIFE = Number(envOf("POH_TEST_SECONDS") ?? 6) * 1000;

/** Orphans may be taken for such after so many seconds, here. */
const GRACE = 3;

const server = await postgres();
const isLocal = server !== null && envOf("POH_TEST_POSTGRES") === undefined;

function test(
  name: string,
  fn: () => Promise<void>,
  options: { ignore?: boolean } = {},
): void {
  Deno.test({ ...options, name, timeout: 2 * LIFE + 90_000, fn });
}

/** Nodes on one store, until they are ended or killed. */
class Lives implements AsyncDisposable {
  readonly model = new Model();
  readonly #store: { base: string; db: string; grace: number };
  readonly #nodes = new Map<string, NodeProcess>();

  constructor(base: string, db: string) {
    this.#store = { base, db, grace: GRACE };
  }

  /** Opens the store from here. */
  async open(): Promise<RemoteEngine> {
    const { base, db } = this.#store;
    return new RemoteEngine(await openParts(base, db, {}), { grace: GRACE });
  }

  async start(name: string): Promise<void> {
    const role = name === "check" || name === "prune" ? name : "write";
    const node = await startNode(this.model, this.#store, role, name);
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

test(
  "processes are killed while others save, delete, prune and recover",
  async () => {
    await using dir = await tempDir();
    await using lives = new Lives(dir.path, storeUrl(server!));
    const names = ["one", "two", "pruned"];
    await (await lives.open()).close(); // makes it
    await Promise.all([...names, "check", "prune"].map((n) => lives.start(n)));
    for (const end = Date.now() + LIFE; Date.now() < end;) {
      await pause(300 + Math.random() * 700);
      await lives.replace(names[Math.floor(Math.random() * names.length)]!);
    }
    await lives.end(true);
    assert(lives.model.checks.length > 0, "nothing was recovered meanwhile");
  },
  { ignore: server === null },
);

test("the connections of writers are ended by PostgreSQL", async () => {
  await using dir = await tempDir();
  await using lives = new Lives(dir.path, storeUrl(server!));
  await (await lives.open()).close();
  for (const name of ["one", "two", "check"]) await lives.start(name);
  for (const end = Date.now() + LIFE; Date.now() < end;) {
    await pause(300);
    await terminateAll(server!);
  }
  await lives.end(false);
}, { ignore: !isLocal });

test("PostgreSQL is killed and started again under writers", async () => {
  await using dir = await tempDir();
  await using lives = new Lives(dir.path, storeUrl(server!));
  await (await lives.open()).close();
  for (const name of ["one", "two", "check"]) await lives.start(name);
  for (const end = Date.now() + LIFE; Date.now() < end;) {
    await pause(1_500);
    await server!.kill();
    await pause(300);
    await server!.start();
  }
  await lives.end(false);
}, { ignore: !isLocal });

function terminateAll(server: PostgresServer): Promise<unknown> {
  return server.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'poh-storage'`,
  );
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function envOf(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}
