// A node of a store that machines share: changes it, or checks it, until its
// stdin ends or it is killed, and writes to stdout what it begins (">") and what
// is acknowledged ("<"), each line before and after the call.
//
//   remote_node.ts <base> <db> <grace> <role> <name>

import { IntegrityError } from "../../src/errors.ts";
import { openParts } from "../../src/shared/open.ts";
import { RemoteEngine } from "../../src/shared/engine.ts";
import { payloadOf } from "./remote_payload.ts";

const [base, db, grace, role, name] = Deno.args as [
  string,
  string,
  string,
  "write" | "check" | "prune",
  string,
];
const IDS = 40, SHARED = 10, IN_FLIGHT = 8;

const parts = await openParts(base, db, { create: true });
const engine = new RemoteEngine(parts, { grace: Number(grace) });
let isEnded = false;
const end = (async () => {
  for await (const _ of Deno.stdin.readable);
  isEnded = true;
})();
tell("ready");
if (role === "check") await check();
else if (role === "prune") await prune();
else await Promise.all(Array.from({ length: IN_FLIGHT }, (_, n) => write(n)));
await end;
await engine.close();

function tell(line: string): void {
  const bytes = new TextEncoder().encode(`${line}\n`);
  for (let at = 0; at < bytes.length;) {
    at += Deno.stdout.writeSync(bytes.subarray(at));
  }
}

/** Each of these has ids of its own, and a few that all nodes have. */
async function write(worker: number): Promise<void> {
  for (let n = 0; !isEnded; n++) {
    const own = Math.floor(Math.random() * IDS / IN_FLIGHT);
    const txId = Math.random() < 0.1
      ? `shared-${Math.floor(Math.random() * SHARED)}`
      : `${name}-${worker}-${own}`;
    const dice = Math.random();
    if (dice < 0.55) await save(txId, `${name}.${worker}.${n}`);
    else if (dice < 0.7) await remove(txId);
    else await load(txId);
  }
}

async function save(txId: string, content: string): Promise<void> {
  const payload = payloadOf(content);
  const head = { txId, holderId: name, timestamp: Date.now() / 1000 };
  tell(`> ${txId} ${content}`);
  try {
    if (content.endsWith("7")) {
      await engine.saveStream(head, ReadableStream.from([payload]), "replace");
    } else await engine.save(head, payload, "replace");
    tell(`< ${txId} ${content}`);
  } catch (error) {
    await failed(error);
  }
}

async function remove(txId: string): Promise<void> {
  tell(`> ${txId} -`);
  try {
    await engine.remove(txId);
    tell(`< ${txId} -`);
  } catch (error) {
    await failed(error);
  }
}

async function load(txId: string): Promise<void> {
  try {
    await engine.load(txId);
  } catch (error) {
    await failed(error);
  }
}

/** Verifies and recovers, as often as it can. */
async function check(): Promise<void> {
  while (!isEnded) {
    try {
      const verified = await engine.verify({});
      const recovered = await engine.recover({ orphans: "quarantine" });
      for (
        const { kind, txId, detail } of [
          ...verified.findings,
          ...recovered.findings,
        ]
      ) {
        if (/missing|corrupt|mismatch/.test(kind)) {
          tell(`! ${kind} ${txId}: ${detail}`);
        }
      }
      tell(`# ${recovered.sound} sound, ${recovered.repaired} repaired`);
    } catch (error) {
      await failed(error);
    }
  }
}

/** Prunes what one writer has saved, unless it is newer than that. */
async function prune(): Promise<void> {
  while (!isEnded) {
    try {
      const before = Date.now() / 1000 - 0.2;
      await engine.prune({ holderId: "pruned", before }, {});
    } catch (error) {
      await failed(error);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What the servers' faults may do to a call; damage they may not. */
async function failed(error: unknown): Promise<void> {
  const { name, message } = error as Error;
  tell(`${error instanceof IntegrityError ? "!" : "?"} ${name}: ${message}`);
  await new Promise((resolve) => setTimeout(resolve, 20));
}
