import { byteText } from "../format/size_text.ts";
import { UsageError } from "../format/usage_error.ts";
import type { PruneFilter, PruneResult } from "../check/prune.ts";
import { countText } from "../format/count_text.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { filterOf } from "../format/filter_values.ts";
import { hasCriterion } from "../check/prune.ts";
import { Progress } from "./progress.ts";
import { openStore } from "./store.ts";

/** `poh-storage prune` */
export async function run(call: Call<"prune">): Promise<number> {
  const { options, output } = call;
  const filter = pruneFilter(options);
  const result = await prune(call, filter);
  await output.print(options.json ? json(call, result) : text(call, result));
  if (result.changed > 0) {
    output.notice(`${result.changed} kept: replaced or deleted meanwhile`);
  }
  if (result.interrupted) {
    throw new CliError(
      Exit.interrupted,
      "Interrupted; what was deleted stays so",
      { hint: "run it again to go on" },
    );
  }
  return Exit.done;
}

function pruneFilter(options: Call<"prune">["options"]): PruneFilter {
  const { "older-than": age, ...others } = options;
  const { after: _, limit, ...conditions } = filterOf(others);
  if (age !== undefined && conditions.before !== undefined) {
    throw new UsageError("prune takes --older-than or --before, not both");
  }
  const filter = {
    ...conditions,
    ...(age !== undefined && { before: Date.now() / 1000 - age }),
  };
  if (filter.holderId === "") {
    throw new UsageError("--holder must not be empty");
  }
  requireCriterion(filter);
  return { ...filter, ...(limit !== undefined && { limit }) };
}

/** As the API does, before a store is looked for, and by the options' names. */
function requireCriterion({ since, ...filter }: PruneFilter): void {
  if (hasCriterion(filter)) return;
  throw new UsageError(
    since === undefined
      ? "prune needs a condition, such as --older-than 30d: it would delete every transaction"
      : "prune --since needs another condition, such as --before: it would delete all the newest",
  );
}

async function prune(
  call: Call<"prune">,
  filter: PruneFilter,
): Promise<PruneResult> {
  const { options, output, signal } = call;
  const dryRun = options["dry-run"];
  await using store = await openStore(call, dryRun ? "read" : "write");
  using progress = new Progress(output, "prune");
  return await store.prune(filter, {
    dryRun,
    signal,
    onProgress: ({ deleted, bytes }) =>
      progress.update({ done: deleted, bytes }),
  });
}

function text({ options }: Call<"prune">, result: PruneResult): string {
  const verb = options["dry-run"] ? "Would prune" : "Pruned";
  return `${verb} ${countText(result.deleted, "tx")} (${
    byteText(result.bytes)
  })\n`;
}

function json({ options }: Call<"prune">, result: PruneResult): string {
  const { deleted, bytes, changed, interrupted } = result;
  const dry_run = options["dry-run"];
  return `${
    JSON.stringify({ dry_run, deleted, bytes, changed, interrupted })
  }\n`;
}
