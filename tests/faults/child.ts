/**
 * Uses a store under limits that a process cannot lift again: prints what came
 * of it as JSON. Arguments: what to do, base, database.
 *
 * @module
 */

import {
  performRecovery,
  StorageManager,
  type StoreReport,
  verifyStore,
} from "../../mod.ts";
import { versionOf } from "../crash/journal.ts";

const [what, base, db] = Deno.args as [string, string, string];
const results: Record<string, unknown> = {};

/** Notes how a call ends. */
async function note(name: string, call: () => Promise<unknown>) {
  try {
    results[name] = await call();
  } catch (error) {
    results[name] = `${(error as Error).name}: ${(error as Error).message}`;
  }
}

/** What a report says, briefly. */
function outline({ findings }: StoreReport): string[] {
  return findings.map(({ kind, txId, action }) => `${kind} ${txId}: ${action}`);
}

/** Opens files until no more can be opened, but for a few. */
function exhaust(spare: number): Disposable {
  const files: Deno.FsFile[] = [];
  try {
    for (;;) files.push(Deno.openSync("/dev/null"));
  } catch {
    for (const file of files.splice(0, spare)) file.close();
  }
  return { [Symbol.dispose]: () => files.forEach((file) => file.close()) };
}

async function contents(): Promise<string[]> {
  const loaded: string[] = [];
  await using store = await StorageManager.create(base, db, { readOnly: true });
  for (const id of await store.listTxs()) {
    loaded.push((await store.loadTx(id))!.txId);
  }
  return loaded;
}

switch (what) {
  // As many files open as may be, at first.
  case "files": {
    await using store = await StorageManager.create(base, db);
    {
      using _ = exhaust(0);
      await note("verify", async () => outline(await store.verify()));
      await note("recover", () => store.recover());
      await note("save", () => store.saveTx(versionOf("more", 1, 10)));
      await note("load", () => store.loadTx("tx-1"));
    }
    await note("save again", async () => {
      return (await store.saveTx(versionOf("again", 1, 10))).size;
    });
    await note("verify again", async () => outline(await store.verify()));
    break;
  }
  // Whatever may not be read or written.
  case "use": {
    await note("verify", async () => outline(await verifyStore(base, db)));
    await note("load", contents);
    await note("recover", async () => outline(await performRecovery(base, db)));
    await note("save", async () => {
      await using store = await StorageManager.create(base, db);
      return (await store.saveTx(versionOf("more", 1, 10))).size;
    });
    break;
  }
}
console.log(JSON.stringify(results));
