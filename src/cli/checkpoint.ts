import { isAbsolute, relative, resolve } from "@std/path";
import { UsageError } from "../format/usage_error.ts";
import { signerOf } from "../proofs/keys.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { requireAccess } from "./permissions.ts";
import { openStore } from "./store.ts";

/** `poh-storage checkpoint` */
export async function run(call: Call<"checkpoint">): Promise<number> {
  const { options, output } = call;
  const path = options["tlog-key"];
  if (path === undefined) {
    throw new UsageError("checkpoint needs the log's private key, --tlog-key");
  }
  const text = await readSecret(path, options.base);
  const signers = await Promise.all(text.trimEnd().split("\n").map(signerOf));
  await using store = await openStore(call, "write");
  const note = await store.tlog.sign(signers, path);
  await output.print(options.json ? `${JSON.stringify({ note })}\n` : note);
  return Exit.done;
}

/** The text of a key that nobody else may read, and that no backup takes. */
async function readSecret(path: string, base: string): Promise<string> {
  const beside = [`${path}.state`, `${path}.lock`];
  requireAccess(["read"], [path, ...beside]);
  requireAccess(["write"], [...beside, `${path}.state.tmp`]);
  const within = relative(resolve(base), resolve(path));
  if (!within.startsWith("..") && !isAbsolute(within)) {
    throw new CliError(
      Exit.usage,
      `The key ${path} is inside the store, whose copies would have it`,
      { hint: "move it elsewhere" },
    );
  }
  const { mode } = await Deno.stat(path);
  if (Deno.build.os !== "windows" && (mode! & 0o077) !== 0) {
    throw new CliError(
      Exit.usage,
      `Others may read the key ${path}`,
      { hint: "chmod 600 it, or make another" },
    );
  }
  return await Deno.readTextFile(path);
}
