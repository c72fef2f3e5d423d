import { resolve } from "@std/path";
import { PohStorageError, StoreNotFoundError } from "../errors.ts";
import { printable } from "../format/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import { requireNoBackup } from "../poh_dir.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { Progress } from "./progress.ts";
import { isRemote } from "../remote_url.ts";
import type { StorageManager } from "../storage_manager.ts";
import { dbPath, openStore, requireLocal, requireStore } from "./store.ts";

/** `--pack-below` takes no more: larger payloads are better off in files. */
const LARGEST_PACKED = 64 * 1024;

/** What became of the store. */
interface Outcome {
  base: string;
  db: string;
  /** False when it was there already. */
  created: boolean;
  /** Whether it never replaces a transaction. */
  writeOnce: boolean;
  /** Payloads moved; null when nobody asked for that. */
  moved: number | null;
}

/** `poh-storage init` */
export async function run(call: Call<"init">): Promise<number> {
  const { options, output } = call;
  const below = packBelow(call);
  const { base, db, created, writeOnce, moved } = await init(call, below);
  await output.print(
    options.json
      ? `${
        JSON.stringify({
          base,
          db,
          created,
          write_once: writeOnce,
          ...(moved !== null && { moved }),
        })
      }\n`
      : `${
        created ? "Initialized storage at" : "There is a store already at"
      } ${printable(base)} ${printable(db)}\n`,
  );
  if (moved !== null && !options.json && !created) {
    output.notice(
      `Payloads of at most ${below} bytes live in the log from now on: ${moved} moved`,
    );
  }
  if (call.signal.aborted) {
    throw new CliError(Exit.interrupted, "Interrupted; run it again to go on");
  }
  return Exit.done;
}

/** What the options ask for, by either name. */
function packBelow({ options, output }: Call<"init">): number | undefined {
  const { "pack-below": given, "inline-below": former } = options;
  if (former !== undefined) {
    output.notice("--inline-below is deprecated: write --pack-below");
    if (given !== undefined && given !== former) {
      throw new UsageError(
        `--pack-below and --inline-below are one option: got ${given} and ${former} bytes; give --pack-below alone`,
      );
    }
  }
  const below = given ?? former;
  if (below === undefined) return undefined;
  if (below > LARGEST_PACKED) {
    throw new UsageError("--pack-below takes 64KiB at most");
  }
  requireLocal("--pack-below", options);
  return below;
}

async function init(
  call: Call<"init">,
  below: number | undefined,
): Promise<Outcome> {
  const { options, output, signal } = call;
  const found = await openIfThere(call);
  // Opening it says that it cannot be made write-once any more.
  const isAsAsked = found?.writeOnce || !options["write-once"];
  if (found && isAsAsked && below === undefined) {
    await using store = found;
    const { writeOnce } = store;
    const place = placeOf(options, store);
    return { ...place, created: false, writeOnce, moved: null };
  }
  await found?.close();
  await using store = await openStore(call, "create");
  const { writeOnce } = store;
  const created = found === null;
  const outcome = { ...placeOf(options, store), created, writeOnce };
  if (below === undefined) return { ...outcome, moved: null };
  using progress = new Progress(output, "init", "payloads");
  const moved = await store.movePacked({
    packBelow: below,
    signal,
    onProgress: ({ done, total }) => progress.update({ done, total }),
  });
  return { ...outcome, moved };
}

/**
 * The store, opened so that nothing of it changes; null where there is none.
 * One that a crash left such that it cannot be read yet is opened to be written.
 */
async function openIfThere(
  call: Call<"init">,
): Promise<StorageManager | null> {
  const { options } = call;
  await requireStore(options, "create");
  if (!isRemote(options.base, dbPath(options))) {
    requireNoBackup(resolve(options.base));
  }
  try {
    return await openStore(call, "read");
  } catch (error) {
    if (error instanceof StoreNotFoundError) return null;
    const isUnfinished = error instanceof PohStorageError &&
      error.code === "UNFINISHED";
    if (!isUnfinished) throw error;
    return await openStore(call, "write");
  }
}

/** A URL is told without the password that it may have. */
function placeOf(
  options: Call<"init">["options"],
  { basePath, sqlitePath }: StorageManager,
): { base: string; db: string } {
  return isRemote(options.base, dbPath(options))
    ? { base: basePath, db: sqlitePath }
    : { base: options.base, db: dbPath(options) };
}
