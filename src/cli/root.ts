import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { openStore } from "./store.ts";

/** `poh-storage root` */
export async function run(call: Call<"root">): Promise<number> {
  await using store = await openStore(call, "write");
  const { origin, size, root } = await store.tlog.status();
  await call.output.print(
    call.options.json
      ? `${JSON.stringify({ origin, size, root })}\n`
      : `${size} ${root}\n`,
  );
  return Exit.done;
}
