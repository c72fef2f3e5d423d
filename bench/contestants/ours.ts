/**
 * This package, by its public API.
 *
 * `variant` "files" keeps payloads as files, "packed" asks for small ones in
 * the log, "ffi" is "files" with the FFI binding of SQLite, "whole" handles large
 * payloads by the calls that are not streams.
 *
 * @module
 */

import { join } from "@std/path";
import { Buffer } from "node:buffer";
import {
  FileStore,
  performRecovery,
  StorageManager,
  verifyStore,
} from "../../mod.ts";
import type { StorageOptions, Tx } from "../../mod.ts";
import { main, Skipped, timed } from "./harness.mjs";

interface Job {
  dir: string;
  count: number;
  variant: "files" | "packed" | "ffi" | "whole";
  durability: "full" | "relaxed";
}

/** Payloads below this many bytes live in the log. */
const PACK_BELOW = 16_384;

/** Piece of a large payload that is handed over at once. */
const CHUNK = 256 * 1024;

const dbOf = (job: Job) => join(job.dir, "poh.db");

function optionsOf(job: Job): StorageOptions {
  const packed = job.variant === "packed" ? { packBelow: PACK_BELOW } : {};
  return {
    durability: job.durability,
    driver: job.variant === "ffi" ? "auto" : "builtin",
    ...packed,
  };
}

async function open(job: Job) {
  if (job.variant === "packed") await requirePacked(job);
  const store = await StorageManager.create(job.dir, dbOf(job), optionsOf(job));
  const { driver } = store;
  if (job.variant === "ffi" && driver.name !== "ffi") {
    await store.close();
    throw new Skipped(`no FFI binding: ${driver.fallbackReason}`);
  }
  const calls = {
    save: (tx: Tx) => store.saveTx(tx),
    saveMany: (txs: Tx[]) => store.saveTxs(txs),
    load: async (txId: string) => (await store.loadTx(txId))!.payload,
    close: () => store.close(),
  };
  if (job.variant === "whole") return calls;
  return {
    ...calls,
    saveLarge: ({ payload, ...head }: Tx) =>
      store.saveTxStream(head, chunksOf(payload)),
    loadLarge: async (txId: string) => {
      let bytes = 0;
      const { payload } = (await store.loadTxStream(txId))!;
      for await (const chunk of payload) bytes += chunk.length;
      return bytes;
    },
  };
}

async function* chunksOf(payload: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < payload.length; at += CHUNK) {
    yield await Promise.resolve(payload.subarray(at, at + CHUNK));
  }
}

/** An option that the package does not know leaves payloads in files. */
async function requirePacked(job: Job): Promise<void> {
  const dir = `${job.dir}-probe`;
  {
    await using store = await StorageManager.create(
      dir,
      join(dir, "poh.db"),
      optionsOf(job),
    );
    const payload = new Uint8Array(1);
    await store.saveTx({ txId: "a", holderId: "", timestamp: 0, payload });
  }
  const isFile = await new FileStore(dir).exists("a");
  await Deno.remove(dir, { recursive: true });
  if (isFile) throw new Skipped("not available: no option packBelow");
}

async function damage(job: Job, txIds: string[]): Promise<void> {
  if (job.variant === "packed") return damageInLog(job, txIds);
  for (const txId of txIds) {
    await Deno.writeFile(join(job.dir, `${txId}.bin`), new Uint8Array(1024));
  }
}

/** Bytes from an id to one of its payload, in a record. */
const TO_PAYLOAD = 200;

function damageInLog(job: Job, txIds: string[]): void {
  const log = join(job.dir, ".poh", "log");
  for (const { name } of Deno.readDirSync(log)) {
    if (!name.endsWith(".seg")) continue;
    const path = join(log, name);
    const bytes = Buffer.from(Deno.readFileSync(path).buffer);
    using file = Deno.openSync(path, { write: true });
    for (const txId of txIds) {
      const at = bytes.indexOf(txId);
      if (at < 0) continue;
      file.seekSync(at + TO_PAYLOAD, Deno.SeekMode.Start);
      file.writeSync(Uint8Array.of(bytes[at + TO_PAYLOAD]! ^ 1));
    }
  }
}

async function recover(job: Job) {
  const { sound } = await performRecovery(job.dir, dbOf(job), optionsOf(job));
  return { sound };
}

function verify(_: unknown, job: Job) {
  return timed(
    job.count,
    () => verifyStore(job.dir, dbOf(job), optionsOf(job)),
  );
}

async function list(_: unknown, job: Job) {
  await using store = await StorageManager.create(job.dir, dbOf(job), {
    ...optionsOf(job),
    readOnly: true,
  });
  return await timed(job.count, async () => {
    for await (const { txId } of store.iterateTxs()) if (txId === "") return;
  });
}

/** The first page of a list, just after the store was opened. */
async function page(_: unknown, job: Job) {
  await using store = await StorageManager.create(job.dir, dbOf(job), {
    ...optionsOf(job),
    readOnly: true,
  });
  return await timed(1, () => store.listTxs({ limit: 100 }));
}

await main({ open, damage, recover, jobs: { verify, list, page } });
