import { dirname } from "@std/path";
import { syncDir, writeAllSync } from "../files/durable_fs.ts";
import { UsageError } from "../format/usage_error.ts";
import { generateKey, type KeyKind } from "../proofs/keys.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { requireAccess } from "./permissions.ts";

/** `poh-storage tlog` */
export async function run(call: Call<"tlog">): Promise<number> {
  const { options: { origin, pq, json }, positionals, output } = call;
  const [action, path, ...more] = positionals;
  if (action !== "keygen") throw new UsageError("tlog needs keygen");
  if (path === undefined || more.length > 0) {
    throw new UsageError("tlog keygen needs one file, for the private key");
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
