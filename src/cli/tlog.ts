import { dirname } from "@std/path";
import { syncDir, writeAllSync } from "../files/durable_fs.ts";
import { UsageError } from "../format/usage_error.ts";
import { generateKey, type KeyKind } from "../proofs/keys.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { requireAccess } from "./permissions.ts";
import { printStatus, statusText } from "./print_tlog.ts";
import { openStore } from "./store.ts";
import { printable } from "../text/printable.ts";

/** `poh-storage tlog` */
export async function run(call: Call<"tlog">): Promise<number> {
  const [action, path] = call.positionals;
  if (action === "keygen") return await keygen(call, path);
  if (path !== undefined) {
    throw new UsageError(`tlog ${action} takes no further argument`);
  }
  if (action === "init") return await init(call);
  if (action === "status") return await status(call);
  if (action === "rebuild-tiles") return await rebuildTiles(call);
  throw new UsageError("tlog needs init, status, keygen or rebuild-tiles");
}

async function rebuildTiles(call: Call<"tlog">): Promise<number> {
  await using store = await openStore(call, "write");
  const made = await store.tlog.rebuildTiles();
  await call.output.print(
    call.options.json
      ? `${JSON.stringify({ made })}\n`
      : `${made} tiles made anew\n`,
  );
  return Exit.done;
}

async function init(call: Call<"tlog">): Promise<number> {
  const { options: { origin, json }, output } = call;
  await using store = await openStore(call, "write");
  const left = await store.tlog.init(origin);
  const status = await store.tlog.status();
  await output.print(
    json
      ? `${JSON.stringify({ ...status, left_out: left })}\n`
      : `${statusText(status)}\n`,
  );
  for (const txId of left) {
    output.notice(
      `Tx ${printable(JSON.stringify(txId))} has no entry: see verify`,
    );
  }
  return left.length > 0 ? Exit.damage : Exit.done;
}

async function status(call: Call<"tlog">): Promise<number> {
  await using store = await openStore(call, "write");
  await printStatus(call.output, await store.tlog.status(), call.options.json);
  return Exit.done;
}

async function keygen(
  call: Call<"tlog">,
  path: string | undefined,
): Promise<number> {
  const { options: { origin, pq, json }, output } = call;
  if (path === undefined) {
    throw new UsageError("tlog keygen needs a file, for the private key");
  }
  if (origin === undefined) {
    throw new UsageError("tlog keygen needs the name of the log, --origin");
  }
  const kinds: KeyKind[] = pq ? ["ed25519", "ml-dsa-87"] : ["ed25519"];
  const keys = await Promise.all(
    kinds.map((kind) => generateKey(origin, kind)),
  );
  requireAccess(["read", "write"], [path]);
  await writeSecret(
    path,
    keys.map(({ privateKey }) => `${privateKey}\n`).join(""),
  );
  const vkeys = keys.map(({ vkey }) => vkey);
  await output.print(
    json
      ? `${JSON.stringify({ file: path, keys: vkeys })}\n`
      : vkeys.map((vkey) => `${vkey}\n`).join(""),
  );
  return Exit.done;
}

/** Writes a new file that only its owner may read; one that is there stays. */
async function writeSecret(path: string, text: string): Promise<void> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    throw new UsageError(
      `${path} is there already: a key is never overwritten`,
    );
  }
  try {
    writeAllSync(file, new TextEncoder().encode(text));
    await file.sync();
  } finally {
    file.close();
  }
  await syncDir(dirname(path));
}
