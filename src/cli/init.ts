import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { printable } from "./output.ts";
import { dbPath, openStore } from "./store.ts";

/** `poh-storage init` */
export async function run({ options, output }: Call<"init">): Promise<number> {
  const store = await openStore(options, "create");
  await store.close();
  const db = dbPath(options);
  await output.print(
    options.json
      ? `${JSON.stringify({ base: options.base, db })}\n`
      : `Initialized storage at ${printable(options.base)} ${printable(db)}\n`,
  );
  return Exit.done;
}
