/**
 * A backup as a tar archive.
 *
 * @module
 */

import { join } from "@std/path";
import { bytesOf, openPayload } from "./backup_folder.ts";
import { type PayloadTarget, walk, type WalkReport } from "./backup_walk.ts";
import {
  makeDir,
  readAllSync,
  removeFileSync,
  SMALL,
} from "../files/durable_fs.ts";
import { IntegrityError } from "../errors.ts";
import { digestOf, digestOfPieces, Sha256 } from "../files/hash.ts";
import { placeOf } from "../payloads/payload_layout.ts";
import { type PayloadSource, unreadable } from "../local/find_payload.ts";
import type { OpenStore } from "../local/open_store.ts";
import { TarWriter } from "./tar.ts";
import type { TxInfo } from "../types.ts";
import { COMPANIONS } from "../sqlite/database_file.ts";
import { writeSetting } from "../sqlite/log_state.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import {
  BACKUP_DB,
  type BackupOptions,
  type BackupReport,
} from "./backup_options.ts";
import { copyRows, requireClosed } from "./copy_rows.ts";

/** Backs up an open store into a stream, as a tar archive. */
export async function backupToTar(
  live: OpenStore,
  to: WritableStream<Uint8Array>,
  options: BackupOptions,
): Promise<BackupReport> {
  const { driver = "auto" } = options;
  const { tmpPath } = live.files;
  await makeDir(tmpPath, false);
  const path = join(tmpPath, `${crypto.randomUUID()}.db`);
  const tar = await TarWriter.create(to);
  try {
    let report: WalkReport, txs: number;
    const rows = await copyRows(live, path, driver);
    try {
      const target = new PayloadArchive(tar);
      report = await walk("backup", live, rows, rows, target, options);
      // Whoever unpacks it has a store that is not the original.
      rows.transaction(() => writeSetting(rows, "id", crypto.randomUUID()));
      txs = await countTxs(rows);
    } finally {
      await rows.close();
    }
    if (report.interrupted) {
      await tar.abort(new Error("The backup was interrupted"));
      return { ...report, linked: 0, txs: 0, removed: 0 };
    }
    requireClosed(path);
    // The last entry: without it an archive is not whole.
    using file = Deno.openSync(path, { read: true });
    await tar.add(BACKUP_DB, file.statSync().size, bytesOf("", file));
    await tar.finish();
    return { ...report, linked: 0, txs, removed: 0 };
  } catch (error) {
    await tar.abort(error as Error);
    throw error;
  } finally {
    for (const suffix of ["", ...COMPANIONS]) removeFileSync(path + suffix);
  }
}

/** Puts payloads into an archive, from which nothing can be taken back. */
class PayloadArchive implements PayloadTarget {
  readonly #tar: TarWriter;

  constructor(tar: TarWriter) {
    this.#tar = tar;
  }

  // deno-lint-ignore require-await -- the contract is asynchronous
  async has(): Promise<null> {
    return null;
  }

  async take(
    { txId, storageHash }: TxInfo,
    source: PayloadSource,
  ): Promise<{ digest: string; size: number } | null> {
    const name = placeOf(txId);
    const add = async (payload: Uint8Array) => {
      const digest = await digestOf(payload);
      const size = payload.length;
      if (digest === storageHash) await this.#tar.add(name, size, [payload]);
      return { digest, size };
    };
    if (typeof source !== "string") return await add(source);
    using file = openPayload(txId, source);
    if (!file) return null;
    const { size } = file.statSync();
    if (size <= SMALL) return await add(readSmall(txId, file, size));
    // Read twice: an entry that has begun cannot be taken back.
    const found = await digestOfPieces(bytesOf(txId, file));
    if (found.digest !== storageHash) return found;
    file.seekSync(0, Deno.SeekMode.Start);
    await this.#tar.add(name, found.size, verified(txId, storageHash, file));
    return found;
  }
}

function readSmall(txId: string, file: Deno.FsFile, size: number): Uint8Array {
  try {
    return readAllSync(file, size);
  } catch (error) {
    throw unreadable(txId, error);
  }
}

/** The second reading: what goes wrong now cuts the archive. */
async function* verified(
  txId: string,
  expected: string,
  file: Deno.FsFile,
): AsyncGenerator<Uint8Array> {
  const hash = new Sha256();
  try {
    for await (const chunk of bytesOf(txId, file)) {
      hash.update(chunk);
      yield chunk;
    }
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`The archive is cut: ${message}`, { cause: error });
  }
  const found = hash.hex();
  if (found !== expected) throw new IntegrityError(txId, expected, found);
}
