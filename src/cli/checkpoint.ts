import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { readLogKey } from "./read_key.ts";
import { openStore } from "./store.ts";

/** `poh-storage checkpoint` */
export async function run(call: Call<"checkpoint">): Promise<number> {
  const { options, output } = call;
  const { signers, keyPath } = await readLogKey(
    "checkpoint",
    options["tlog-key"],
    options.base,
  );
  await using store = await openStore(call, "write");
  const note = await store.tlog.sign(signers, keyPath);
  await output.print(options.json ? `${JSON.stringify({ note })}\n` : note);
  return Exit.done;
}
