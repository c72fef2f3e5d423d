import { isThere, replaceFile } from "../files/durable_fs.ts";
import { UsageError } from "../format/usage_error.ts";
import {
  Auditor,
  type AuditReport,
  type PublicLog,
} from "../proofs/auditor.ts";
import { toBase64 } from "../proofs/encoding.ts";
import type { Policy } from "../proofs/policy.ts";
import { ProofError } from "../proofs/proof_error.ts";
import type { StorageManager } from "../storage_manager.ts";
import { numberText } from "../format/count_text.ts";
import { printable } from "../text/printable.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { requireAccess } from "./permissions.ts";
import { checkpointJson, logOf } from "./proof_words.ts";
import { readPolicy, readToken } from "./read_key.ts";
import { openStore } from "./store.ts";

/** `poh-storage audit` */
export async function run(call: Call<"audit">): Promise<number> {
  const { positionals: [url], options, signal } = call;
  const { state } = options;
  if (state === undefined) {
    throw new UsageError(
      "audit needs a file for what it has seen, --state; it makes one",
    );
  }
  const policy = await readPolicy("audit", call, options);
  const auditor = await auditorFrom(state, policy);
  if (url === undefined) {
    if (options["token-file"] !== undefined) {
      throw new UsageError("--token-file is for a log's address");
    }
    await using store = await openStore(call, "write");
    return await audit(call, auditor, state, localLog(store));
  }
  const { HttpLog } = await import("./http_log.ts");
  const token = await readToken(options["token-file"]);
  const log = await HttpLog.at(url, token, signal);
  return await audit(call, auditor, state, log);
}

/** The log of a store on this machine. */
function localLog({ tlog }: StorageManager): PublicLog {
  return {
    async checkpoint() {
      const note = await tlog.published();
      if (note !== null) return note;
      throw new CliError(
        Exit.unknownTx,
        'No checkpoint is published: "checkpoint" signs one',
      );
    },
    bundle: async (index) =>
      await tlog.tile("entries", index) ?? new Uint8Array(),
  };
}

async function audit(
  { options, output, signal }: Call<"audit">,
  auditor: Auditor,
  state: string,
  log: PublicLog,
): Promise<number> {
  const before = auditor.misbehaviour.length;
  const acceptRestart = options["accept-restart"];
  try {
    const report = await auditor.update(log, { acceptRestart, signal });
    await keep(auditor, state);
    await output.print(
      options.json
        ? `${JSON.stringify(reportJson(report, auditor))}\n`
        : `${printable(reportText(report))}\n`,
    );
  } catch (error) {
    // What shows it is kept before anybody is told.
    if (auditor.misbehaviour.length > before) await keep(auditor, state);
    if (!(error instanceof ProofError)) throw error;
    const { code, at, message } = error;
    if (options.json) {
      await output.print(
        `${JSON.stringify({ ok: false, code, at, message })}\n`,
      );
    }
    throw error;
  }
  const count = auditor.misbehaviour.length;
  if (count === 0) return Exit.done;
  output.notice(
    `${state} has kept ${count} finding${count === 1 ? "" : "s"} of this log`,
  );
  return Exit.done;
}

function reportText({ old, checkpoint, live }: AuditReport): string {
  const { size, root } = checkpoint;
  const since = old === null
    ? "the first audit"
    : `${numberText(size - old.size)} since the last audit`;
  return `audit ok: ${numberText(size)} entries in ${
    logOf(checkpoint)
  }, ${since}, ${numberText(live)} of them live, root ${toBase64(root)}`;
}

function reportJson(
  { old, checkpoint, live }: AuditReport,
  { misbehaviour }: Auditor,
) {
  return {
    ...{ ok: true, old_size: old?.size ?? null, live },
    ...checkpointJson(checkpoint),
    misbehaviour: misbehaviour.length,
  };
}

async function auditorFrom(path: string, policy: Policy): Promise<Auditor> {
  requireAccess(["read", "write"], [path, `${path}.tmp`]);
  if (!isThere(path)) return new Auditor(policy);
  const text = await Deno.readTextFile(path);
  try {
    return new Auditor(policy, JSON.parse(text));
  } catch (error) {
    const isOdd = error instanceof SyntaxError || error instanceof ProofError;
    if (!isOdd) throw error;
    throw new UsageError(`${path} is no state of an audit: ${error.message}`);
  }
}

async function keep(auditor: Auditor, path: string): Promise<void> {
  const bytes = new TextEncoder().encode(`${JSON.stringify(auditor)}\n`);
  await Deno.remove(`${path}.tmp`).catch(() => {}); // of one that was killed
  await replaceFile(path, bytes, `${path}.tmp`, true);
}
