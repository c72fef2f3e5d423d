import { resolve } from "@std/path";
import { PohStorageError, StoreNotFoundError } from "../errors.ts";
import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import { requireNoBackup } from "../files/layout.ts";
import type { Call } from "./call.ts";
import { Exit } from "./exit_codes.ts";
import { packBelow } from "./pack_below.ts";
import { isRemote } from "../remote_url.ts";
import type { StorageManager } from "../storage_manager.ts";
import { commandText } from "./shell_line.ts";
import { dbPath, openStore, requireStore } from "./store.ts";

/** Result of init. */
interface Outcome {
  base: string;
  db: string;
  /** False when it was there already. */
  created: boolean;
  /** The store never replaces a transaction. */
  writeOnce: boolean;
}

/** `poh-storage init` */
export async function run(call: Call<"init">): Promise<number> {
  const { options, output } = call;
  const { base, db, created, writeOnce } = await init(call);
  if (options.json) {
    const facts = { base, db, created, write_once: writeOnce };
    await output.print(`${JSON.stringify(facts)}\n`);
    return Exit.done;
  }
  const save = commandText(
    ["save", "--tx-id=first", "--holder-id=me", "--payload-file=FILE"],
    { base, db: options.db === undefined ? undefined : db },
  );
  await output.print([
    created ? "Initialized storage" : "There is a store already",
    `Payloads:  ${printable(base)}`,
    `Database:  ${printable(db)}`,
    ...(created ? [`Next:      ${save}`] : []),
    "",
  ].join("\n"));
  return Exit.done;
}

async function init(call: Call<"init">): Promise<Outcome> {
  const { options, output } = call;
  const below = packBelow(options, output);
  const found = await openIfThere(call);
  // Opening it says that it cannot be made write-once any more.
  const isAsAsked = found?.writeOnce || !options["write-once"];
  if (found && isAsAsked) {
    await using store = found;
    requirePackBelow(store, below);
    return {
      ...placeOf(options, store),
      created: false,
      writeOnce: store.writeOnce,
    };
  }
  await found?.close();
  await using store = await openStore(call, "create", below);
  const { writeOnce } = store;
  return { ...placeOf(options, store), created: found === null, writeOnce };
}

/** A store that is there stays as it is. */
function requirePackBelow(
  { packBelow }: StorageManager,
  asked = packBelow,
): void {
  if (asked === packBelow) return;
  throw new UsageError(
    `There is a store already, which packs payloads of at most ${packBelow} bytes`,
    {
      hint:
        `poh-storage repack --pack-below ${asked} changes that and moves what is there`,
    },
  );
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

/** A URL is printed without its password. */
function placeOf(
  options: Call<"init">["options"],
  { basePath, sqlitePath }: StorageManager,
): { base: string; db: string } {
  return isRemote(options.base, dbPath(options))
    ? { base: basePath, db: sqlitePath }
    : { base: options.base, db: dbPath(options) };
}
