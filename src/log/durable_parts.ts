/**
 * The parts of a store for a writer that waits for no disk, where it has to all
 * the same: others may share the store with it, or have died before it came, and
 * what they saved was promised to survive a power cut.
 *
 * @module
 */

import { PayloadFiles } from "../payloads/payload_files.ts";
import { WalFile } from "../sqlite/wal_file.ts";
import type { LogParts } from "./checkpoint.ts";
import { LogDir } from "./log_dir.ts";

/** Parts that wait for the disk, until they are disposed. */
export class DurableParts implements Disposable {
  /** The parts. */
  readonly parts: LogParts & { wal: WalFile };

  /** Those of the same store. */
  constructor(parts: LogParts) {
    const { basePath } = parts.files;
    const dir = new LogDir(basePath, { sync: true, write: true });
    dir.belongTo(parts.storeId);
    const files = new PayloadFiles(basePath);
    const wal = WalFile.open(parts.rows.path);
    this.parts = { ...parts, dir, files, wal };
  }

  [Symbol.dispose](): void {
    this.parts.dir[Symbol.dispose]();
    this.parts.wal.close();
  }
}
