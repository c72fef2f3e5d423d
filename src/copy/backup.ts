/**
 * A backup of a store, taken beside whoever uses it.
 *
 * The rows are copied at one moment; then each row's payload is taken over and
 * verified. What was acknowledged before the backup began, and has not been
 * replaced or deleted since, is in it, whole.
 *
 * @module
 */

import { resolve } from "@std/path";
import { requireKnown, waitOf } from "../options.ts";
import { keepRepairsAway } from "../files/locks.ts";
import { closeStore, openStore } from "../local/open_store.ts";
import {
  BACKUP_OPTIONS,
  type BackupOptions,
  type BackupReport,
} from "./backup_options.ts";
import { backupToFolder } from "./backup_to_folder.ts";
import { backupToTar } from "./backup_to_tar.ts";

/**
 * Backs up a store, verified, while others may use it.
 *
 * Into a folder: a store of its own with the database `poh.db`, to be verified
 * as every store, and not to be written to. A second backup into the same
 * folder takes only what is new. Into a stream: a tar archive of the same.
 * Damaged transactions are reported and left out; quarantine is not backed up.
 *
 * While SQLite copies the database, this thread does nothing else.
 *
 * Needs `--allow-read` for the base directory and the database, and
 * `--allow-read` and `--allow-write` for the folder; `--allow-write` for the
 * base directory as well for hard links, and for a stream.
 *
 * @param target A folder, made where there is none; or where a tar archive goes.
 * @returns What was done. `interrupted`: the previous backup, if any, is what
 * the folder still has, and calling again goes on; a stream was aborted.
 * @throws {BackupPathError} If the folder holds something else.
 * @throws {StoreBusyError} If the store is being repaired, or the folder in use.
 * @throws {MetadataDamagedError} If the store's database is damaged.
 *
 * @example Usage
 * ```ts
 * import { backupStore, restoreStore, StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const dir = await Deno.makeTempDir();
 * const [base, db] = [`${dir}/store`, `${dir}/store/poh.db`];
 * {
 *   await using store = await StorageManager.create(base, db);
 *   const payload = new TextEncoder().encode("hello");
 *   await store.saveTx({ txId: "a", holderId: "alice", timestamp: 0, payload });
 *
 *   const report = await backupStore(base, db, `${dir}/backup`);
 *   assertEquals(report.txs, 1);
 * }
 * await restoreStore(`${dir}/backup`, `${dir}/new`, `${dir}/new/poh.db`);
 * await Deno.remove(dir, { recursive: true });
 * ```
 */
export async function backupStore(
  basePath: string,
  sqlitePath: string,
  target: string | WritableStream<Uint8Array>,
  options: BackupOptions = {},
): Promise<BackupReport> {
  requireKnown(options, BACKUP_OPTIONS);
  const { driver = "auto" } = options;
  const live = await openStore(resolve(basePath), resolve(sqlitePath), {
    ...waitOf(options),
    driver,
    readOnly: true,
  });
  try {
    using _ = await keepRepairsAway(live.files.basePath, options);
    return typeof target === "string"
      ? await backupToFolder(live, resolve(target), options)
      : await backupToTar(live, target, options);
  } finally {
    await closeStore(live);
  }
}
