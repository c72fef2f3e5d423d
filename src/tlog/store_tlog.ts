/**
 * The transparency log of a store on this machine: begun, signed, and proven from.
 *
 * @module
 */

import type { ErrorCode } from "../model/error_codes.ts";
import { dirname, join } from "@std/path";
import { crashPoint } from "../async/crash_points.ts";
import {
  PohStorageError,
  StoreBusyError,
  type StoreHolder,
} from "../errors.ts";
import {
  makeDir,
  readRegular,
  removeFileSync,
  replaceFile,
} from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import { LockFile } from "../files/locks.ts";
import {
  type Checkpoint,
  formatCheckpoint,
  parseCheckpoint,
} from "../proofs/checkpoint.ts";
import type { HashedPayload } from "../proofs/chunk_tree.ts";
import { isEqual, textOf, toBase64, toHex } from "../proofs/encoding.ts";
import { CHUNK_SIZE, parseEntry, type PutEntry } from "../proofs/entry.ts";
import { isKeyName, type Signer } from "../proofs/keys.ts";
import { isConsistent } from "../proofs/merkle.ts";
import { openNote, parseNote, signNote } from "../proofs/note.ts";
import {
  demandIncluded,
  formatConsistencyProof,
  formatInclusionProof,
} from "../proofs/proof_files.ts";
import { entriesOf } from "../proofs/tiles.ts";
import type { Database } from "../sqlite/database.ts";
import { logState, readSetting } from "../sqlite/log_state.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { iterateTxs } from "../sqlite/tx_pages.ts";
import { appendPut, appendRemoval, isUnderSeal, recordOf } from "./seal.ts";
import { beginning, damaged, type Tlog, tlogPath } from "./tlog.ts";
import type { StoreLog, TlogFinding, TlogStatus } from "../model/tlog.ts";
import { checkTlog } from "./tlog_check.ts";
import {
  countLive,
  Growth,
  liveEntry,
  makeTables,
  setOrigin,
  setTreePosition,
  strayIds,
} from "./tlog_tables.ts";
import type { TxInfo } from "../types.ts";

/** Rows that are taken in at once: the event loop waits for them. */
const PAGE = 128;

/** What it needs of an open store. */
export interface TlogHost {
  /** The rows. */
  rows: Database;
  /** Folder of the payload files. */
  basePath: string;
  /** The tree. */
  tlog: Tlog;
  /** Has the tree follow all that resolved. */
  flush(): Promise<void>;
  /** Runs work while nobody else changes the store; null: somebody has it open. */
  alone<T>(work: () => Promise<T>): Promise<{ value: T } | null>;
  /** Who else has it open. */
  others(): StoreHolder[];
  /** What a payload above a chunk comes to; null where it cannot be read. */
  hash(info: TxInfo): Promise<HashedPayload | null>;
}

/** The log of an open store. */
export class StoreTlog implements StoreLog {
  readonly #host: TlogHost;
  readonly #rows: Database;
  readonly #base: string;
  readonly #tlog: Tlog;

  /** Of a store that is open for writing. */
  constructor(host: TlogHost) {
    this.#host = host;
    this.#rows = host.rows;
    this.#base = host.basePath;
    this.#tlog = host.tlog;
  }

  /** {@inheritDoc StoreLog.init} */
  async init(origin?: string): Promise<string[]> {
    const storeId = readSetting(this.#rows, "id")!;
    const name = origin ?? `poh.invalid/${storeId}`;
    if (!isKeyName(name)) {
      throw tlogError(
        "TLOG_FORMAT",
        `${name} is no name for a log: it has a space or a plus`,
      );
    }
    const done = await this.#host.alone(async () => {
      if (this.#tlog.isOn) {
        throw tlogError("TLOG_EXISTS", "The store keeps a log already");
      }
      const predecessor = await this.#setOldAside();
      await this.#flush();
      await this.#rows.change(() => {
        makeTables(this.#rows);
        const growth = new Growth(this.#rows);
        growth.append(beginning(storeId, name, predecessor));
        growth.end();
      });
      const left = await this.#takeInRows(
        iterateTxs(this.#rows, { sort: "time" }),
      );
      await this.#rows.change(() => {
        setOrigin(this.#rows, name);
        setTreePosition(this.#rows, logState(this.#rows).applied);
      });
      await this.#flush();
      return left;
    });
    if (done) return done.value;
    throw new StoreBusyError(
      "The store is open elsewhere: a log is begun while nobody else has it open",
      this.#host.others(),
    );
  }

  /**
   * Files of a log that the database knows nothing of make way.
   *
   * @returns The last checkpoint of that log.
   */
  async #setOldAside(): Promise<string | null> {
    const published = await this.#published();
    const path = tlogPath(this.#base);
    try {
      await Deno.rename(path, `${path}-${Date.now()}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return published;
  }

  /** Gives rows their entries; the ids of those that have none. */
  async #takeInRows(infos: AsyncIterable<TxInfo>): Promise<string[]> {
    const left: string[] = [];
    let page: { info: TxInfo; chunkRoot: Uint8Array | null }[] = [];
    const flush = async () => {
      await this.#rows.change(() => {
        const growth = new Growth(this.#rows);
        for (const { info, chunkRoot } of page) {
          const isIn = appendPut(
            this.#rows,
            growth,
            info,
            "adopted",
            chunkRoot,
          );
          if (!isIn) left.push(info.txId);
        }
        growth.end();
      });
      crashPoint("tree grown");
      page = [];
    };
    for await (const info of infos) {
      page.push({ info, chunkRoot: await this.#chunkRootOf(info) });
      if (page.length === PAGE) await flush();
    }
    await flush();
    return left;
  }

  /** The chunk root of a sound payload that has one. */
  async #chunkRootOf(info: TxInfo): Promise<Uint8Array | null> {
    if (info.size >= 0 && info.size <= CHUNK_SIZE) return null;
    const hashed = await this.#host.hash(info);
    const isSound = hashed && toHex(hashed.digest) === info.storageHash;
    return isSound ? hashed.chunkRoot : null;
  }

  /**
   * Gives rows without an entry one, and ends entries without a row: what a
   * repair, or a program that does not log, has changed.
   */
  async reconcile(): Promise<void> {
    if (!this.#tlog.isOn) return;
    await this.#host.flush();
    if (this.#tlog.conflict) return; // each of the log's own commands tells it
    const { vanished, unlogged } = strayIds(this.#rows);
    await this.#rows.change(() => {
      const growth = new Growth(this.#rows);
      for (const txId of vanished) {
        if (findInfo(this.#rows, txId)) continue;
        appendRemoval(this.#rows, growth, txId, "vanished");
      }
      growth.end();
    });
    const rows = this.#rows;
    await this.#takeInRows((async function* () {
      for (const txId of unlogged) {
        const info = findInfo(rows, txId);
        if (info) yield await Promise.resolve(info);
      }
    })());
    await this.#host.flush();
  }

  /** {@inheritDoc StoreLog.status} */
  async status(): Promise<TlogStatus> {
    const origin = this.#requireOn();
    await this.#flush();
    const published = await this.#published();
    return {
      origin,
      size: this.#tlog.size(),
      root: toBase64(await this.#tlog.tree().root()),
      live: countLive(this.#rows),
      published: published === null
        ? null
        : parseCheckpoint(parseNote(published).text).size,
    };
  }

  /** Has the tree follow all that resolved, and its tiles be files. */
  async #flush(): Promise<void> {
    await this.#host.flush();
    if (this.#tlog.conflict) throw this.#tlog.conflict;
  }

  #requireOn(): string {
    const origin = this.#tlog.origin();
    if (origin !== null) return origin;
    throw tlogError(
      "TLOG_NONE",
      'The store keeps no log: "tlog init" begins one',
    );
  }

  async #published(): Promise<string | null> {
    const path = join(tlogPath(this.#base), "checkpoint");
    const bytes = await readRegular(path);
    return bytes && textOf(bytes, "note");
  }

  /** {@inheritDoc StoreLog.sign} */
  async sign(signers: readonly Signer[], keyPath: string): Promise<string> {
    const origin = this.#requireOn();
    const odd = signers.find(({ verifier }) => verifier.name !== origin);
    if (odd) {
      throw tlogError(
        "KEY_UNKNOWN",
        `The key is that of ${odd.verifier.name}, the log is ${origin}`,
      );
    }
    const lock = new LockFile(`${keyPath}.lock`);
    if (!lock.tryLock(true)) {
      lock.close();
      throw new StoreBusyError("Another process signs with this key", []);
    }
    try {
      await this.#flush();
      const size = this.#tlog.size();
      const root = await this.#tlog.tree(size).root();
      // Others may have let it grow since: what is signed is to be durable.
      await this.#flush();
      const statePath = `${keyPath}.state`;
      const before = await readRegular(statePath);
      if (before) await this.#requireContinues(before, signers, size);
      const note = await signNote(
        formatCheckpoint({ origin, size, root }),
        signers,
      );
      const bytes = new TextEncoder().encode(note);
      removeFileSync(`${statePath}.tmp`); // of a signer that was killed
      await replaceFile(statePath, bytes, `${statePath}.tmp`, true);
      crashPoint("tree signed");
      const path = join(tlogPath(this.#base), "checkpoint");
      await makeDir(dirname(path), true);
      const tmp = join(tmpPath(this.#base), `tlog-${crypto.randomUUID()}`);
      await replaceFile(path, bytes, tmp, true);
      return note;
    } finally {
      lock.unlock();
      lock.close();
    }
  }

  async #requireContinues(
    before: Uint8Array,
    signers: readonly Signer[],
    size: number,
  ): Promise<void> {
    const keys = signers.map(({ verifier }) => verifier);
    const old = parseCheckpoint((await openNote(before, keys)).text);
    if (old.size === 0) return;
    if (old.size <= size) {
      const root = await this.#tlog.tree(size).root(old.size);
      if (isEqual(root, old.root)) return;
    }
    throw tlogError(
      "TLOG_ROLLED_BACK",
      `The key has signed ${old.size} entries, which this log of ${size} does not continue: nothing is signed`,
    );
  }

  /** The published checkpoint. */
  async #checkpoint(): Promise<Checkpoint & { note: string }> {
    this.#requireOn();
    const note = await this.#published();
    if (note === null) {
      throw tlogError(
        "NOT_LOGGED",
        'No checkpoint is published: "checkpoint" signs one',
      );
    }
    return { ...parseCheckpoint(parseNote(note).text), note };
  }

  /** {@inheritDoc StoreLog.proveInclusion} */
  async proveInclusion(txId: string): Promise<string> {
    const checkpoint = await this.#checkpoint();
    const row = findInfo(this.#rows, txId);
    const live = liveEntry(this.#rows, txId);
    if (!row || !live || live.entry >= checkpoint.size) {
      throw tlogError(
        "NOT_LOGGED",
        `Tx ${JSON.stringify(txId)} is not in the published checkpoint`,
      );
    }
    if (!isUnderSeal(row, live)) {
      throw tlogError(
        "TLOG_MISMATCH",
        `The row of tx ${
          JSON.stringify(txId)
        } is not what entry ${live.entry} has under its seal`,
      );
    }
    const index = live.entry;
    const bytes = await this.#entry(index);
    const path = await this.#tlog.tree(checkpoint.size).inclusion(index);
    try {
      demandIncluded(bytes, index, path, checkpoint);
    } catch (error) {
      throw damaged((error as Error).message);
    }
    return formatInclusionProof({
      entry: parseEntry(bytes) as PutEntry,
      record: recordOf(row, live),
      index,
      path,
      checkpoint: checkpoint.note,
    });
  }

  /** {@inheritDoc StoreLog.proveConsistency} */
  async proveConsistency(from: Checkpoint | number): Promise<string> {
    const checkpoint = await this.#checkpoint();
    const oldSize = typeof from === "number" ? from : from.size;
    if (oldSize < 1 || oldSize > checkpoint.size) {
      throw tlogError(
        "NOT_LOGGED",
        `The published checkpoint has ${checkpoint.size} entries, not ${oldSize}`,
      );
    }
    const tree = this.#tlog.tree(checkpoint.size);
    const oldRoot = await tree.root(oldSize);
    const path = await tree.consistency(oldSize);
    const { size, root, note } = checkpoint;
    if (!isConsistent(oldSize, oldRoot, size, root, path)) {
      throw damaged("its tiles are not those of the published checkpoint");
    }
    if (typeof from !== "number" && !isEqual(from.root, oldRoot)) {
      throw tlogError(
        "TLOG_MISMATCH",
        `The log does not continue that checkpoint of ${oldSize} entries`,
      );
    }
    return formatConsistencyProof({ oldSize, oldRoot, path, checkpoint: note });
  }

  async #entry(index: number): Promise<Uint8Array> {
    const bundle = await this.#tlog.bundle(Math.floor(index / 256));
    const entry = entriesOf(bundle)[index % 256];
    if (entry) return entry;
    throw damaged(`entry ${index} is missing`);
  }

  /** {@inheritDoc StoreLog.check} */
  async check(): Promise<TlogFinding[]> {
    this.#requireOn();
    await this.#flush();
    return await checkTlog(this.#rows, this.#tlog);
  }
}

function tlogError(code: ErrorCode, message: string): PohStorageError {
  return new PohStorageError(code, message);
}
