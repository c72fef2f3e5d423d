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
  isThere,
  makeDir,
  readRegular,
  removeFileSync,
  renameFile,
  replaceFile,
} from "../files/durable_fs.ts";
import { tmpPath } from "../files/layout.ts";
import { LockFile } from "../files/locks.ts";
import {
  type Checkpoint,
  formatCheckpoint,
  parseCheckpoint,
} from "../proofs/checkpoint.ts";
import { type HashedPayload, PayloadHasher } from "../proofs/chunk_tree.ts";
import { isEqual, toBase64, toHex } from "../proofs/encoding.ts";
import { CHUNK_SIZE, parseEntry, type PutReason } from "../proofs/entry.ts";
import { isKeyName, type Signer } from "../proofs/keys.ts";
import { isConsistent } from "../proofs/merkle.ts";
import { openNote, parseNote, signNote } from "../proofs/note.ts";
import { provePossession } from "../proofs/possession.ts";
import { ProofError } from "../proofs/proof_error.ts";
import {
  demandIncluded,
  formatConsistencyProof,
  formatInclusionProof,
} from "../proofs/proof_files.ts";
import { entriesOf } from "../proofs/tiles.ts";
import { answerChallenge } from "../proofs/answer.ts";
import type { Challenge } from "../proofs/challenge.ts";
import { Spool } from "./spool.ts";
import { demanded, Drawn, notHeld } from "./store_holding.ts";
import type { Database } from "../sqlite/database.ts";
import { logState, readSetting } from "../sqlite/log_state.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { iterateTxs } from "../sqlite/tx_pages.ts";
import { appendPut, appendRemoval, isUnderSeal, recordOf } from "./seal.ts";
import {
  beginning,
  damaged,
  lastCheckpoint,
  publishedBy,
  type Tlog,
  tlogPath,
} from "./tlog.ts";
import { MAX_FINDINGS } from "../model/report.ts";
import type {
  HoldingKey,
  StoreLog,
  TlogCheck,
  TlogFinding,
  TlogStatus,
} from "../model/tlog.ts";
import { checkTlog, type Kept, rebuildTiles } from "./tlog_check.ts";
import {
  countLive,
  forgetPredecessor,
  Growth,
  liveBefore,
  type LiveEntry,
  liveEntry,
  makeTables,
  predecessorOf,
  setOrigin,
  setPredecessor,
  setTreePosition,
  strayIds,
} from "./tlog_tables.ts";
import type { TxInfo } from "../types.ts";

/** Rows that are taken in at once: the event loop waits for them. */
const PAGE = 128;

/** A row that gets its entry. */
interface Adopted {
  info: TxInfo;
  chunkRoot: Uint8Array | null;
  reason: PutReason;
}

/** How many entries of the predecessor its last checkpoint covers. */
function coveredBefore(rows: Database): number {
  const checkpoint = predecessorOf(rows);
  return checkpoint === null ? 0 : checkpointOf(checkpoint).size;
}

function checkpointOf(note: string): Checkpoint {
  return parseCheckpoint(parseNote(note).text);
}

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
  /**
   * The bytes of a row's payload, unverified; null: none.
   *
   * @throws {PayloadUnreadableError} Also as they are read.
   */
  open(info: TxInfo): Promise<AsyncIterable<Uint8Array> | null>;
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
      await this.#setOldAside();
      await this.#flush();
      const predecessor = predecessorOf(this.#rows);
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
        forgetPredecessor(this.#rows);
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
   * Files of a log that the database knows nothing of make way. Its last
   * checkpoint is remembered first: whoever begins again after a crash has it.
   */
  async #setOldAside(): Promise<void> {
    const path = tlogPath(this.#base);
    if (!isThere(path)) return;
    const published = await lastCheckpoint(this.#base);
    if (published !== null && predecessorOf(this.#rows) === null) {
      await this.#rows.change(() => setPredecessor(this.#rows, published));
      await this.#flush();
    }
    await renameFile(path, `${path}-${Date.now()}`, true);
  }

  /** Gives rows their entries; the ids of those that have none. */
  async #takeInRows(infos: AsyncIterable<TxInfo>): Promise<string[]> {
    const left: string[] = [];
    let page: Adopted[] = [];
    const flush = async () => {
      await this.#rows.change(() => {
        const growth = new Growth(this.#rows);
        for (const { info, chunkRoot, reason } of page) {
          const isIn = appendPut(this.#rows, growth, info, reason, chunkRoot);
          if (!isIn) left.push(info.txId);
        }
        growth.end();
      });
      crashPoint("tree grown");
      page = [];
    };
    const covered = coveredBefore(this.#rows);
    for await (const info of infos) {
      const before = liveBefore(this.#rows, info.txId);
      const isCarried = before !== null && before.entry < covered &&
        isUnderSeal(info, before);
      page.push(
        isCarried
          ? { info, chunkRoot: before.chunkRoot, reason: "carried-over" }
          : {
            info,
            chunkRoot: await this.#chunkRootOf(info),
            reason: "adopted",
          },
      );
      if (page.length === PAGE) await flush();
    }
    await flush();
    return left;
  }

  /** The chunk root of a sound payload that has one. */
  async #chunkRootOf(info: TxInfo): Promise<Uint8Array | null> {
    if (info.size >= 0 && info.size <= CHUNK_SIZE) return null;
    const hashed = await this.#hash(info);
    const isSound = hashed && toHex(hashed.digest) === info.storageHash;
    return isSound ? hashed.chunkRoot : null;
  }

  /** What a payload comes to; null where it cannot be read. */
  async #hash(info: TxInfo): Promise<HashedPayload | null> {
    const hasher = new PayloadHasher();
    try {
      const pieces = await this.#host.open(info);
      if (!pieces) return null;
      for await (const piece of pieces) hasher.update(piece);
      return hasher.finish();
    } catch (error) {
      if (error instanceof PohStorageError) return null;
      throw error;
    }
  }

  /**
   * Gives rows without an entry one, and ends entries without a row: what a
   * repair, or a program that does not log, has changed.
   */
  async reconcile(): Promise<void> {
    if (!this.#tlog.isOn) return;
    await this.#host.flush();
    if (this.#tlog.conflict) return; // each of the log's own commands tells it
    const rows = this.#rows;
    for (;;) {
      const page = [...take(strayIds(rows, "vanished"), PAGE)];
      if (page.length === 0) break;
      await rows.change(() => {
        const growth = new Growth(rows);
        for (const txId of page) {
          appendRemoval(rows, growth, txId, "vanished");
        }
        growth.end();
      });
    }
    await this.#takeInRows((async function* () {
      for (const txId of strayIds(rows, "unlogged")) {
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
    const published = await publishedBy(this.#base);
    return {
      origin,
      size: this.#tlog.size(),
      root: toBase64(await this.#tlog.tree().root()),
      live: countLive(this.#rows),
      published: published === null ? null : checkpointOf(published).size,
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

  /** {@inheritDoc StoreLog.published} */
  published(): Promise<string | null> {
    this.#requireOn();
    return publishedBy(this.#base);
  }

  /** {@inheritDoc StoreLog.tile} */
  tile(
    level: number | "entries",
    index: number,
  ): Promise<Uint8Array | null> {
    this.#requireOn();
    return this.#tlog.tile(level, index);
  }

  /** {@inheritDoc StoreLog.sign} */
  async sign(signers: readonly Signer[], keyPath: string): Promise<string> {
    const origin = this.#requireKeysOf(signers);
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

  /** Name of the log, of which all of these have to be keys. */
  #requireKeysOf(signers: readonly Signer[]): string {
    const origin = this.#requireOn();
    const odd = signers.find(({ verifier }) => verifier.name !== origin);
    if (!odd) return origin;
    throw tlogError(
      "KEY_UNKNOWN",
      `The key is that of ${odd.verifier.name}, the log is ${origin}`,
    );
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
    const note = await publishedBy(this.#base);
    if (note === null) {
      throw tlogError(
        "NOT_LOGGED",
        'No checkpoint is published: "checkpoint" signs one',
      );
    }
    return { ...checkpointOf(note), note };
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
    this.#requireUnderSeal(row, live);
    const index = live.entry;
    const bytes = await this.#entry(index);
    const path = await this.#tlog.tree(checkpoint.size).inclusion(index);
    try {
      demandIncluded(bytes, index, path, checkpoint);
    } catch (error) {
      throw damaged((error as Error).message);
    }
    const entry = parseEntry(bytes);
    if (entry.kind !== "put" || !isEqual(entry.seal, live.seal)) {
      throw tlogError(
        "TLOG_MISMATCH",
        `Entry ${index} is not that of tx ${JSON.stringify(txId)}`,
      );
    }
    return formatInclusionProof({
      entry,
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

  /** {@inheritDoc StoreLog.proveHolding} */
  async *proveHolding(
    challenge: Challenge,
    { signers, keyPath, maxRead, signal }: HoldingKey,
  ): AsyncGenerator<Uint8Array> {
    this.#requireKeysOf(signers);
    await this.#flush();
    using spool = new Spool(this.#base);
    const drawn = await Drawn.read(this.#host, challenge, spool, {
      ...(maxRead !== undefined && { maxRead }),
      ...(signal && { signal }),
    });
    // Witnesses may have cosigned the one that is published.
    const published = await publishedBy(this.#base);
    const isNewEnough = published !== null &&
      checkpointOf(published).size >= drawn.size;
    const note = isNewEnough ? published : await this.sign(signers, keyPath);
    const source = await drawn.shownUnder({ ...checkpointOf(note), note });
    const encoder = new TextEncoder();
    for await (const line of answerChallenge(challenge, source, signers[0]!)) {
      signal?.throwIfAborted();
      yield encoder.encode(line);
    }
  }

  /** {@inheritDoc StoreLog.provePossession} */
  async provePossession(
    txId: string,
    nonce: Uint8Array,
    signer: Signer,
  ): Promise<string> {
    this.#requireOn();
    this.#requireKeysOf([signer]);
    for (let attempt = 0;; attempt++) {
      await this.#flush();
      const row = findInfo(this.#rows, txId);
      const live = liveEntry(this.#rows, txId);
      if (!row || !live) {
        throw tlogError(
          "NOT_LOGGED",
          `Tx ${JSON.stringify(txId)} has no entry in the log`,
        );
      }
      this.#requireUnderSeal(row, live);
      try {
        const pieces = await this.#host.open(row);
        if (!pieces) throw notHeld(txId);
        const payload = demanded(pieces, row);
        return await provePossession(live.entry, nonce, payload, signer);
      } catch (error) {
        const isNotHeld = error instanceof PohStorageError &&
          error.code === "NOT_HELD";
        if (!isNotHeld || attempt > 0) throw error;
      }
    }
  }

  #requireUnderSeal(row: TxInfo, live: LiveEntry): void {
    if (isUnderSeal(row, live)) return;
    throw tlogError(
      "TLOG_MISMATCH",
      `The row of tx ${
        JSON.stringify(row.txId)
      } is not what entry ${live.entry} has under its seal`,
    );
  }

  async #entry(index: number): Promise<Uint8Array> {
    const bundle = await this.#tlog.bundle(Math.floor(index / 256));
    const entry = entriesOf(bundle)[index % 256];
    if (entry) return entry;
    throw damaged(`entry ${index} is missing`);
  }

  /** {@inheritDoc StoreLog.rebuildTiles} */
  async rebuildTiles(): Promise<number> {
    this.#requireOn();
    const done = await this.#host.alone(async () => {
      await this.#host.flush();
      const made = await rebuildTiles(this.#tlog);
      await this.#flush();
      return made;
    });
    if (done) return done.value;
    throw new StoreBusyError(
      "The store is open elsewhere: tiles are made while nobody else has it open",
      this.#host.others(),
    );
  }

  /** {@inheritDoc StoreLog.check} */
  async check({ kept, onFinding }: TlogCheck = {}): Promise<TlogFinding[]> {
    this.#requireOn();
    await this.#flush();
    const all: Kept[] = [];
    const published = await publishedBy(this.#base);
    const told: TlogFinding[] = [];
    const tell = (finding: TlogFinding) => {
      onFinding?.(finding);
      if (told.length < MAX_FINDINGS) told.push(finding);
    };
    if (published !== null) {
      try {
        const name = "the published checkpoint";
        all.push({ name, ...checkpointOf(published) });
      } catch (error) {
        if (!(error instanceof ProofError)) throw error;
        const details = `the published checkpoint is none: ${error.message}`;
        tell({ kind: "damaged", txId: null, details });
      }
    }
    if (kept) all.push({ name: "the checkpoint that was kept", ...kept });
    const findings = checkTlog(this.#rows, this.#tlog, all);
    for await (const finding of findings) tell(finding);
    return told;
  }
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  let left = count;
  for (const item of items) {
    yield item;
    if (--left === 0) return;
  }
}

function tlogError(code: ErrorCode, message: string): PohStorageError {
  return new PohStorageError(code, message);
}
