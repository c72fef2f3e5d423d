import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { openListing } from "./store.ts";
import { idPages } from "../engine.ts";

/** Loaded when they are asked for. */
const scripts: Readonly<Record<string, () => Promise<string>>> = {
  bash: async () => (await import("./shells/bash.ts")).bashScript(),
  zsh: async () => (await import("./shells/zsh.ts")).zshScript(),
  fish: async () => (await import("./shells/fish.ts")).fishScript(),
  powershell: async () =>
    (await import("./shells/powershell.ts")).powershellScript(),
};

/** Ids that are offered at a time, and ids that are looked at for them. */
const MOST_IDS = 100;
const MOST_SEEN = 1000;

/** `poh-storage completions` */
export async function run(call: Call<"completions">): Promise<number> {
  const { options: { ids, json }, positionals: [shell], output } = call;
  if ((shell === undefined) === (ids === undefined)) {
    throw new UsageError(
      "completions needs bash, zsh, fish, powershell or --ids, and one of them only",
    );
  }
  if (shell !== undefined) {
    const script = await scripts[shell]!();
    await output.print(
      json ? `${JSON.stringify({ shell, script })}\n` : script,
    );
    return Exit.done;
  }
  const found = await idsFrom(call, ids!);
  await output.print(
    json
      ? `${JSON.stringify({ ids: found })}\n`
      : found.map((id) => `${id}\n`).join(""),
  );
  return Exit.done;
}

/**
 * Ids that begin with `idPrefix` and that a shell can take: none that a
 * terminal would obey, none that would be read as an option.
 */
async function idsFrom(
  call: Call<"completions">,
  idPrefix: string,
): Promise<string[]> {
  const store = await openListing(call);
  const ids: string[] = [];
  try {
    for await (
      const page of idPages(store.queries, { idPrefix, limit: MOST_SEEN })
    ) {
      ids.push(...page);
    }
  } finally {
    await store.close();
  }
  return ids
    .filter((id) => printable(id) === id && !id.startsWith("-"))
    .slice(0, MOST_IDS);
}
