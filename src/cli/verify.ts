import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import type { Finding, StoreReport } from "../model/report.ts";
import { countText, numberText } from "../format/count_text.ts";
import type { TlogFinding } from "../model/tlog.ts";
import type { Checkpoint } from "../proofs/checkpoint.ts";
import { findingJson, reportJson } from "../format/report_json.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { filterOf } from "../format/filter_values.ts";
import { fromOptions } from "./from.ts";
import {
  checkOptions,
  countsText,
  requireAllRead,
  requireAllSources,
  sourceLines,
  tellSteps,
} from "./print_report.ts";
import { Progress } from "./progress.ts";
import { readCheckpoint } from "./read_checkpoint.ts";
import { isRemote, remoteStores } from "../remote_url.ts";
import { dbPath, openStore, requireStore, storageOptions } from "./store.ts";

/** `poh-storage verify` */
export async function run(call: Call<"verify">): Promise<number> {
  const { options, output } = call;
  if (options.plan !== undefined) return await plan(call, options.plan);
  if (options.findings && options.json) {
    throw new UsageError("--findings is JSON already: leave out --json");
  }
  const kept = await keptCheckpoint(call);
  const report = await verify(call);
  if (options.json) await output.print(`${reportJson(report)}\n`);
  else {
    tellSteps(output, report);
    for (const line of sourceLines(report)) output.notice(printable(line));
    const paint = options.findings ? output.paintNotice : output.paint;
    const count = `${numberText(report.sound)} of ${
      countText(report.checked, "tx")
    }`;
    const isAll = report.sound === report.checked;
    const summary = `Verification ${
      report.interrupted ? "interrupted" : "complete"
    }: ${paint(isAll ? "good" : "damage", count)} valid${
      options.from.length > 0 ? `, ${report.healable} could be healed` : ""
    }`;
    if (options.findings) output.notice(summary);
    else await output.print(`${summary}\n`);
  }
  const altered = options.tlog ? await checkTlog(call, kept) : 0;
  const next = report.cursor === null
    ? ""
    : `go on with --after ${JSON.stringify(report.cursor)}`;
  if (next && !report.interrupted) output.notice(`Not at the end: ${next}`);
  if (report.damaged) {
    const damage = countsText(report, [
      "payload-missing",
      "payload-corrupt",
      "size-mismatch",
      "row-damaged",
      "metadata-damaged",
      "metadata-outdated",
      "log-damaged",
    ]);
    throw new CliError(Exit.damage, `Damage found: ${damage}`, {
      hint: "poh-storage recover repairs it, with --from <backup> from a copy",
    });
  }
  if (report.interrupted) {
    throw new CliError(Exit.interrupted, `Interrupted${next && `; ${next}`}`);
  }
  if (altered > 0) {
    throw new CliError(
      Exit.damage,
      `The transparency log disagrees in ${altered} place${
        altered === 1 ? "" : "s"
      }`,
    );
  }
  requireAllSources(report);
  requireAllRead(report);
  const odd = report.counts["odd-row"];
  if (odd > 0) {
    throw new CliError(
      Exit.failed,
      `${odd} row${odd === 1 ? " is no transaction" : "s are no transactions"}`,
    );
  }
  return Exit.done;
}

/** Tells where rows, seals and tree disagree; in how many places. */
async function checkTlog(
  call: Call<"verify">,
  kept: Checkpoint | undefined,
): Promise<number> {
  const { options, output } = call;
  const isJson = options.json || options.findings;
  await using store = await openStore(call, "write");
  let count = 0, printed = Promise.resolve();
  const onFinding = (finding: TlogFinding) => {
    count++;
    const line = `${isJson ? tlogJson(finding) : tlogText(finding)}\n`;
    printed = printed.then(() => output.print(line));
    printed.catch(() => {}); // who waits for it is told
  };
  await store.tlog.check({ onFinding, ...(kept && { kept }) });
  await printed;
  if (!isJson && count === 0) {
    const { size, live } = await store.tlog.status();
    await output.print(`Log sound: ${size} entries, ${live} of them live\n`);
  }
  return count;
}

function tlogJson({ kind, txId, details }: TlogFinding): string {
  return JSON.stringify({ kind: `tlog-${kind}`, tx_id: txId, details });
}

function tlogText({ kind, txId, details }: TlogFinding): string {
  const about = txId === null ? "" : ` tx ${JSON.stringify(txId)}:`;
  return printable(`tlog-${kind}:${about} ${details}`);
}

/** The checkpoint that the log has to continue. */
async function keptCheckpoint(
  call: Call<"verify">,
): Promise<Checkpoint | undefined> {
  const { kept, tlog } = call.options;
  if (kept === undefined) return undefined;
  if (!tlog) throw new UsageError("--kept needs --tlog");
  return await readCheckpoint(call, kept);
}

/** The ranges that as many runs check, each as options of one. */
async function plan(
  { options, output }: Call<"verify">,
  ranges: number,
): Promise<number> {
  const db = dbPath(options);
  if (!isRemote(options.base, db)) {
    throw new UsageError("--plan is for stores in a bucket or on a server");
  }
  await requireStore(options, "read");
  const { boundaries } = await remoteStores();
  const ends = await boundaries(options.base, db, ranges, {
    driver: options.driver,
  });
  const starts = [undefined, ...ends];
  for (const [n, after] of starts.entries()) {
    const until = ends[n];
    await output.print(
      options.json
        ? `${JSON.stringify({ after, until })}\n`
        : `${argument("after", after) + argument("until", until)}\n`
          .replace(/^ /, ""),
    );
  }
  return Exit.done;
}

/** As a shell and xargs take it. */
function argument(name: string, id: string | undefined): string {
  if (id === undefined) return "";
  return ` --${name}=${
    /^[\w.-]+$/.test(id) ? id : `'${id.replaceAll("'", "'\\''")}'`
  }`;
}

async function verify(call: Call<"verify">): Promise<StoreReport> {
  const { options } = call;
  await requireStore(options, "read");
  const { verifyStore } = await import("../recovery.ts");
  const { after, limit, ...filter } = filterOf(options);
  using progress = new Progress(call.output, "verify", "checked");
  let printed = Promise.resolve();
  const onFinding = (finding: Finding) => {
    const line = `${JSON.stringify(findingJson(finding))}\n`;
    printed = printed.then(() => call.output.print(line));
    printed.catch(() => {}); // who waits for it is told
  };
  const report = await verifyStore(options.base, dbPath(options), {
    ...storageOptions(call, "read"),
    ...checkOptions(call, progress),
    ...await fromOptions(call),
    ...(options.findings && { onFinding }),
    // Any filter, even one that selects all, limits the check to rows' payloads.
    ...(Object.keys(filter).length > 0 && { filter }),
    ...(options.sample !== undefined && { sample: options.sample }),
    ...(after !== undefined && { after }),
    ...(limit !== undefined && { limit }),
    ...(options.until !== undefined && { until: options.until }),
    ...(options.workers !== undefined && { workers: options.workers }),
  });
  await printed;
  return report;
}
