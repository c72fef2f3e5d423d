import type { CompactReport } from "../model/packing.ts";
import { byteText } from "../format/size_text.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { packBelow } from "./pack_below.ts";
import { Progress } from "./progress.ts";
import { openStore, requireLocal } from "./store.ts";

/** Result of repacking. */
interface Repacked extends Omit<CompactReport, "interrupted"> {
  /** Largest payload, in bytes, that lives in the log. */
  packBelow: number;
  /** Payloads that went into the log, or out of it. */
  repacked: number;
}

/** `poh-storage repack` */
export async function run(call: Call<"repack">): Promise<number> {
  const { options, output, signal } = call;
  requireLocal("repack", options);
  const done = await repack(call);
  await output.print(options.json ? json(done, signal) : text(done));
  if (signal.aborted) {
    throw new CliError(
      Exit.interrupted,
      "Interrupted; what was moved stays so",
      { hint: "run it again to go on" },
    );
  }
  if (done.dead > 0) {
    output.notice(
      `${
        byteText(done.dead)
      } of the log are dead and stay: a payload before them is damaged, or another process has changed the store meanwhile; see poh-storage verify`,
    );
  }
  return Exit.done;
}

async function repack(call: Call<"repack">): Promise<Repacked> {
  const { options, output, signal } = call;
  const below = packBelow(options, output);
  await using store = await openStore(call, "write");
  using progress = new Progress(output, "repack", "payloads");
  const repacked = await store.movePacked({
    ...(below !== undefined && { packBelow: below }),
    signal,
    onProgress: ({ done, total }) => progress.update({ done, total }),
  });
  const { moved, freed, dead } = await store.compact({
    signal,
    onProgress: ({ done, total }) =>
      progress.update({ done, total }, "compact"),
  });
  return { packBelow: store.packBelow, repacked, moved, freed, dead };
}

function text({ packBelow, repacked, freed }: Repacked): string {
  const where = packBelow === 0
    ? "All payloads are files"
    : `Payloads of at most ${byteText(packBelow)} are in the log`;
  return `${where}: ${repacked} moved, ${byteText(freed)} of the log freed\n`;
}

function json(
  { packBelow, repacked, freed, dead }: Repacked,
  { aborted }: AbortSignal,
): string {
  return `${
    JSON.stringify({
      pack_below: packBelow,
      moved: repacked,
      freed,
      dead,
      interrupted: aborted,
    })
  }\n`;
}
