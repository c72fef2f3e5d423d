/**
 * What nodes have said of their changes, and what a store may therefore have.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { RemoteEngine } from "../../src/shared/engine.ts";
import { denoScript, text, within } from "../helpers.ts";
import { payloadOf } from "../children/remote_payload.ts";

/** What of one id may be there: `-` is nothing. */
interface Known {
  /** The newest that was acknowledged, and what was begun since. */
  possible: Set<string>;
  /** What is under way. */
  begun: Set<string>;
  /** Changes acknowledged. */
  acknowledged: number;
}

/** All that nodes have said. */
export class Model {
  readonly #known = new Map<string, Known>();
  /** Changes acknowledged. */
  acknowledged = 0;
  /** Damage that a node has met. */
  readonly damage: string[] = [];
  /** What faults have done to calls. */
  readonly failures: string[] = [];
  /** What checks came to. */
  readonly checks: string[] = [];

  /** Takes in a line. Changes of one node's own id come one after the other. */
  read(line: string): void {
    const [sign, txId, content] = line.split(" ") as [string, string, string];
    if (sign === "!") this.damage.push(line);
    if (sign === "?") this.failures.push(line);
    if (sign === "#") this.checks.push(line);
    if (sign !== ">" && sign !== "<") return;
    let known = this.#known.get(txId);
    if (!known) {
      known = { possible: new Set(["-"]), begun: new Set(), acknowledged: 0 };
      this.#known.set(txId, known);
    }
    if (sign === ">") known.possible.add(content);
    // Of ids that all have, any that was ever begun may be the last one.
    else if (!txId.startsWith("shared-")) known.possible = new Set([content]);
    if (sign === "<") {
      known.acknowledged++;
      this.acknowledged++;
    }
  }

  /** Holds a store against it. */
  async check(engine: RemoteEngine, isPruned = false): Promise<void> {
    assertEquals(this.damage, []);
    assert(this.acknowledged > 0, "nothing was acknowledged");
    for (const [txId, { possible }] of this.#known) {
      const tx = await engine.load(txId);
      const found = tx ? text(tx.payload).split(";")[0]! : "-";
      if (found === "-" && isPruned && txId.startsWith("pruned")) continue;
      assert(
        possible.has(found),
        `${txId} is ${found}, and may be ${[...possible].join(", ")}`,
      );
      if (tx) assertEquals(text(tx.payload), text(payloadOf(found)), txId);
    }
    for (const txId of await idsOf(engine)) assert(this.#known.has(txId), txId);
  }
}

async function idsOf(engine: RemoteEngine): Promise<string[]> {
  return await Array.fromAsync(engine.queries.iterate({}), ({ txId }) => txId);
}

/** A node in a process of its own. */
export interface NodeProcess {
  /** Lets it finish what it has begun. */
  end(): Promise<void>;
  /** Kills it at once. */
  kill(): Promise<void>;
}

/** Starts a node; what it says goes to the model. */
export async function startNode(
  model: Model,
  store: { base: string; db: string; grace: number },
  role: "write" | "check" | "prune",
  name: string,
  env: Record<string, string> = {},
): Promise<NodeProcess> {
  const { base, db, grace } = store;
  const child = denoScript(
    "remote_node.ts",
    [base, db, `${grace}`, role, name],
    {
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
      env,
    },
  ).spawn();
  const ready = Promise.withResolvers<void>();
  const reading = (async () => {
    let rest = "";
    for await (const chunk of child.stdout) {
      const lines = (rest + text(chunk)).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        if (line === "ready") ready.resolve();
        else model.read(line);
      }
    }
    ready.reject(new Error(`${name} ended before it was ready`));
  })();
  ready.promise.catch(() => {});
  const over = async () => {
    const { success } = await within(60_000, child.status);
    await reading;
    return success;
  };
  await within(30_000, ready.promise);
  return {
    async end() {
      await child.stdin.close();
      assert(await over(), `${name} failed`);
    },
    async kill() {
      child.kill("SIGKILL");
      await over();
      await child.stdin.close().catch(() => {}); // nobody reads it any more
    },
  };
}
