/**
 * Verified, crash-safe storage of transactions for nodes of a proof-of-holding
 * network: payloads in files, metadata in SQLite, a SHA-256 that binds them.
 *
 * @example Save, load, verify
 * ```ts
 * import { StorageManager } from "@poh/storage";
 * import { assertEquals } from "@std/assert";
 *
 * const base = await Deno.makeTempDir();
 * {
 *   await using store = await StorageManager.create(base, `${base}/poh.db`);
 *   await store.saveTx({
 *     txId: "tx1",
 *     holderId: "alice",
 *     timestamp: 1464307123,
 *     payload: new TextEncoder().encode("hello"),
 *   });
 *   assertEquals((await store.loadTx("tx1"))?.holderId, "alice");
 *   assertEquals((await store.verify()).damaged, false);
 * }
 * await Deno.remove(base, { recursive: true });
 * ```
 *
 * @module
 */

export { backupStore } from "./src/copy/backup.ts";
export type { BackupOptions, BackupReport } from "./src/copy/backup_options.ts";
export type { WalkOptions, WalkReport } from "./src/copy/backup_walk.ts";
export { describeStore } from "./src/describe.ts";
export type { ErrorCode } from "./src/model/error_codes.ts";
export * from "./src/errors.ts";
export { FileStore, type FileStoreOptions } from "./src/payloads/file_store.ts";
export { sha256Hex, sha256HexOfStream } from "./src/files/hash.ts";
export type {
  DeleteOptions,
  IfExists,
  IfMatch,
  SaveCounts,
  SavedTx,
  SaveOptions,
  SaveOutcome,
  SaveStreamOptions,
  SaveTxsOptions,
} from "./src/model/if_exists.ts";
export type { LockWait } from "./src/options.ts";
export {
  type LeftOutReason,
  type MigrateOptions,
  type MigrateProgress,
  type MigrateReport,
  migrateStore,
} from "./src/migrate.ts";
export type { OddRow } from "./src/sqlite/odd_rows.ts";
export type {
  CompactOptions,
  CompactReport,
  MovePackedOptions,
} from "./src/model/packing.ts";
export type {
  StorageOptions,
  UpgradeNote,
  UpgradeReport,
} from "./src/model/storage_options.ts";
export type {
  Hint,
  LogUse,
  StoreDescription,
} from "./src/model/store_description.ts";
export type {
  PruneFilter,
  PruneOptions,
  PruneResult,
} from "./src/check/prune.ts";
export type {
  QuarantineEntry,
  QuarantineNote,
} from "./src/payloads/quarantine.ts";
export type {
  CheckOptions,
  RecoverOptions,
  RecoveryOptions,
  VerifyOptions,
} from "./src/check/check.ts";
export type { LongWork, Progress } from "./src/model/long_work.ts";
export { performRecovery, verifyStore } from "./src/recovery.ts";
export type {
  HoldingKey,
  StoreLog,
  TlogCheck,
  TlogFinding,
  TlogStatus,
} from "./src/model/tlog.ts";
export type { Checkpoint } from "./src/proofs/checkpoint.ts";
export type { KeyKind, Signer, Verifier } from "./src/proofs/keys.ts";
export type {
  Finding,
  FindingAction,
  FindingKind,
  ReportStep,
  SourceReport,
  StoreReport,
} from "./src/model/report.ts";
export type { DriverChoice, DriverInfo } from "./src/model/driver_info.ts";
export { SqliteStore } from "./src/sqlite/sqlite_store.ts";
export type { DatabaseOptions as SqliteStoreOptions } from "./src/sqlite/open_database.ts";
export { restoreStore } from "./src/copy/restore.ts";
export type {
  RestoreOptions,
  RestoreReport,
} from "./src/copy/restore_place.ts";
export { StorageManager } from "./src/storage_manager.ts";
export { txFromJson, txToJson, validateTx } from "./src/tx.ts";
export type {
  StoreTotals,
  Tx,
  TxCursor,
  TxFilter,
  TxHead,
  TxInfo,
  TxJson,
  TxQuery,
  TxStream,
} from "./src/types.ts";
