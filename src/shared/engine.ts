/**
 * A store whose payloads are objects and whose metadata is a catalog, shared by
 * any number of machines. The rules that it follows are told in `contracts.ts`.
 *
 * @module
 */

import type { RecoverOptions, VerifyOptions } from "../check/check.ts";
import {
  type Engine,
  infoOf,
  type Quarantine,
  type StreamDemands,
  txOf,
  type TxQueries,
  type WithoutSources,
} from "../engine.ts";
import type { CompactReport } from "../model/packing.ts";
import {
  IntegrityError,
  InvalidTxError,
  PayloadUnreadableError,
  PohStorageError,
} from "../errors.ts";
import {
  decide,
  type IfExists,
  type IfMatch,
  isSameTx,
  requireMatch,
  type SavedTx,
  savedTx,
} from "../model/if_exists.ts";
import { digestInTurns } from "./digest.ts";
import {
  type PruneFilter,
  type PruneOptions,
  type PruneResult,
  pruneRows,
} from "../check/prune.ts";
import { restoreCase } from "../payloads/quarantine.ts";
import type { StoreReport } from "../model/report.ts";
import type { DriverInfo } from "../model/driver_info.ts";
import type { Tx, TxHead, TxInfo, TxQuery, TxStream } from "../types.ts";
import { type Pieces, verified } from "../payloads/verifying_stream.ts";
import { Batcher, Refused } from "./batcher.ts";
import { CatalogClock } from "./clock.ts";
import {
  type Catalog,
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  closeParts,
  GRACE,
  isMade,
  type PayloadSource,
  type RemoteParts,
} from "./contracts.ts";
import { isSameEntry } from "./entry.ts";
import { isPlainKey, plainKey, versionKey } from "./object_key.ts";
import type { Sources } from "../check/sources.ts";
import { recoverRemote, verifyRemote } from "./check.ts";
import { casesOf, digestOf, emptyCases, listCases } from "./quarantine.ts";
import { spool } from "./spool.ts";
import { Sweeper } from "./sweeper.ts";
import { judge, readingOf } from "../check/two_readings.ts";

/** Larger payloads are not sent under a key that is likely to be taken. */
const LARGE = 1024 * 1024;

/** Times that a payload is put anew when its key turns out to be out of use. */
const ATTEMPTS = 5;

/** Requests to the catalog: changes or ids in one, and how many at a time. */
const COMMITS = { items: 1_024, batches: 4 };
const FINDS = { items: 512, batches: 4 };

/** How to use them. */
export interface RemoteOptions {
  /** Changes nothing. */
  readOnly?: boolean;
  /** Whether no save replaces a transaction: the catalog knows. */
  writeOnce?: boolean;
  /** {@linkcode GRACE}, unless a test has not the time. */
  grace?: number;
}

/** A store that machines share. */
export class RemoteEngine implements Engine {
  readonly #parts: RemoteParts;
  readonly #readOnly: boolean;
  /** {@inheritDoc Engine.writeOnce} */
  readonly writeOnce: boolean;
  /** {@inheritDoc Engine.packBelow} */
  readonly packBelow = 0;
  readonly #grace: number;
  readonly #clock: CatalogClock;
  readonly #sweeper: Sweeper;
  readonly #commits: Batcher<CatalogChange, CatalogOutcome>;
  readonly #finds: Batcher<string, CatalogEntry | null>;
  /** The newest change of each id under way: the next one waits for it. */
  readonly #changes = new Map<string, Promise<unknown>>();

  /** An engine on parts that are open, which it closes. */
  constructor(parts: RemoteParts, options: RemoteOptions = {}) {
    const { catalog, objects } = parts;
    this.#parts = parts;
    this.#readOnly = options.readOnly ?? false;
    this.writeOnce = options.writeOnce ?? false;
    this.#grace = options.grace ?? GRACE;
    this.#clock = new CatalogClock(() => catalog.now());
    this.#sweeper = new Sweeper(objects, catalog);
    this.#commits = new Batcher(
      (changes) => commitAll(catalog, changes),
      COMMITS,
    );
    this.#finds = new Batcher((txIds) => catalog.find(txIds), FINDS);
  }

  /** {@inheritDoc Engine.base} */
  get base(): string {
    return this.#parts.objects.url;
  }

  /** {@inheritDoc Engine.db} */
  get db(): string {
    return this.#parts.catalog.url;
  }

  /** {@inheritDoc Engine.driver} */
  get driver(): DriverInfo {
    return this.#parts.driver;
  }

  /** {@inheritDoc Engine.queries} */
  get queries(): TxQueries {
    return this.#parts.catalog;
  }

  /** {@inheritDoc Engine.quarantine} */
  readonly quarantine: Quarantine = {
    list: () => listCases(this.#parts.objects),
    restore: (name) => restoreCase(casesOf(this.#parts.objects), name, this),
    empty: async () => {
      this.#requireWriter();
      const { objects, catalog } = this.#parts;
      return await emptyCases(objects, catalog);
    },
  };

  /** {@inheritDoc Engine.save} */
  save(
    head: TxHead,
    payload: Uint8Array,
    rule: IfExists,
    ifMatch?: IfMatch,
  ): Promise<SavedTx> {
    return this.#change(head.txId, async (before) => {
      const digest = await digestInTurns(payload);
      const info = infoOf(head, digest, payload.length);
      return await this.#put(info, payload, before, rule, ifMatch);
    });
  }

  /** {@inheritDoc Engine.saveStream} */
  saveStream(
    head: TxHead,
    chunks: AsyncIterable<Uint8Array>,
    rule: IfExists,
    { expected, ifMatch }: StreamDemands = {},
  ): Promise<SavedTx> {
    const { txId } = head;
    return this.#change(txId, async (before) => {
      await using whole = await spool(chunks);
      const { digest, size, source } = whole;
      if (expected !== undefined && digest !== expected) {
        throw new IntegrityError(txId, expected, digest);
      }
      const info = infoOf(head, digest, size);
      return await this.#put(info, source, before, rule, ifMatch);
    });
  }

  /** {@inheritDoc Engine.load} */
  async load(txId: string): Promise<Tx | null> {
    const find = () => this.#finds.submit(txId);
    const first = await find();
    if (!first) return null;
    const judged = await judge(
      first,
      (entry) => readable(txId, () => this.#read(entry)),
      find,
      isSameEntry,
    );
    switch (judged?.kind) {
      case undefined:
        return null;
      case "sound":
        return txOf(judged.row.info, judged.sound.bytes);
      case "damaged": {
        const { row: { info: { storageHash } }, found } = judged;
        throw new IntegrityError(txId, storageHash, found?.digest ?? null);
      }
      case "unreadable": {
        const { message } = judged.failure;
        throw new PayloadUnreadableError(txId, message);
      }
    }
  }

  async #read({ info, key }: CatalogEntry) {
    const bytes = await this.#parts.objects.read(key);
    const found = bytes && { bytes, digest: await digestInTurns(bytes) };
    return readingOf(found, info.storageHash);
  }

  /** {@inheritDoc Engine.loadSoon} */
  loadSoon(): null {
    return null; // it asks a server
  }

  /** {@inheritDoc Engine.loadStream} */
  async loadStream(txId: string): Promise<TxStream | null> {
    const { objects } = this.#parts;
    let failed: CatalogEntry | null = null;
    while (true) {
      const entry = await this.#finds.submit(txId);
      if (!entry) return null;
      const bytes = await readable(txId, () => objects.stream(entry.key));
      if (bytes) {
        return {
          info: entry.info,
          payload: verified(entry.info, piecesOf(bytes)),
        };
      }
      if (failed && isSameEntry(failed, entry)) {
        throw new IntegrityError(txId, entry.info.storageHash, null);
      }
      failed = entry;
    }
  }

  /** {@inheritDoc Engine.info} */
  async info(txId: string): Promise<TxInfo | null> {
    return (await this.#finds.submit(txId))?.info ?? null;
  }

  /** {@inheritDoc Engine.remove} */
  remove(txId: string, ifMatch?: IfMatch): Promise<boolean> {
    return ifMatch === undefined
      ? this.#remove({ remove: txId })
      : this.#removeMatching(txId, ifMatch);
  }

  /** {@inheritDoc Engine.prune} */
  // deno-lint-ignore require-await -- what it throws, it rejects with
  async prune(
    filter: PruneFilter,
    options: PruneOptions,
  ): Promise<PruneResult> {
    if (!options.dryRun) this.#requireWriter();
    const { catalog } = this.#parts;
    const rows = {
      async *iterate(query: TxQuery) {
        for await (const { info, key } of catalog.entries(query)) {
          yield { ...info, key };
        }
      },
    };
    return pruneRows(rows, filter, options, (seen) =>
      Promise.all(
        seen.map(({ key, ...info }) =>
          this.#remove({ remove: info.txId, seen: { info, key } })
        ),
      ));
  }

  /** {@inheritDoc Engine.verify} */
  verify(
    options: WithoutSources<VerifyOptions>,
    sources: Sources | null = null,
  ): Promise<StoreReport> {
    return verifyRemote(this.#parts, options, this.#grace, sources);
  }

  /** {@inheritDoc Engine.recover} */
  async recover(
    options: WithoutSources<RecoverOptions>,
    sources: Sources | null = null,
  ): Promise<StoreReport> {
    if (!options.dryRun) this.#requireWriter();
    return await recoverRemote(this.#parts, options, this.#grace, sources);
  }

  /** {@inheritDoc Engine.movePacked} */
  // deno-lint-ignore require-await -- what it throws, it rejects with
  async movePacked(): Promise<number> {
    throw localOnly();
  }

  /** {@inheritDoc Engine.tlog} */
  tlog(): never {
    throw localOnly();
  }

  /** {@inheritDoc Engine.compact} */
  // deno-lint-ignore require-await -- what it throws, it rejects with
  async compact(): Promise<CompactReport> {
    throw localOnly();
  }

  /** {@inheritDoc Engine.whyNotWritable} Servers tell when they are asked. */
  whyNotWritable(): null {
    return null;
  }

  /** {@inheritDoc Engine.close} */
  async close(): Promise<void> {
    await this.#sweeper.end();
    await closeParts(this.#parts);
  }

  /**
   * A change of an id. Its row waits for `before`, the end of all earlier ones:
   * so the changes of one id keep the order of their calls, and those that are
   * committed at the same time are of different ids.
   */
  async #change<T>(
    txId: string,
    work: (before: Promise<unknown>) => Promise<T>,
  ): Promise<T> {
    this.#requireWriter();
    const before = this.#changes.get(txId) ?? Promise.resolve();
    const change = work(before);
    const end = Promise.allSettled([before, change]);
    this.#changes.set(txId, end);
    try {
      return await change;
    } finally {
      end.then(() => {
        if (this.#changes.get(txId) === end) this.#changes.delete(txId);
      });
    }
  }

  /**
   * The object first, then the row that names it. A new id is not looked up:
   * its plain key, or the commit, tells where it is not new.
   */
  async #put(
    info: TxInfo,
    source: PayloadSource,
    before: Promise<unknown>,
    rule: IfExists,
    ifMatch?: IfMatch,
  ): Promise<SavedTx> {
    let isNew = ifMatch === undefined && !await this.#isLikelyTaken(info);
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      let placed = isNew ? await this.#placeFirst(info, source) : null;
      await before;
      // One that may not replace commits only where there is nothing.
      let seen: CatalogEntry | null | undefined = rule === "replace"
        ? undefined
        : null;
      if (!placed) {
        const there = await this.#finds.submit(info.txId);
        if (ifMatch) requireMatch(ifMatch, info.txId, there?.info ?? null);
        const settled = there && await this.#settle(there, info, rule);
        if (settled) return settled;
        const isSame = there !== null && isSameTx(there.info, info);
        if (isSame || ifMatch !== undefined) seen = there;
        placed = await this.#placeVersion(info, source);
      }
      const { key, deadline } = placed;
      const outcome = await this.#commits.submit({
        put: { info, key },
        deadline,
        ...seen !== undefined && { seen },
      });
      if (isMade(outcome)) {
        // Under a key of its own it has replaced another.
        if (isPlainKey(key)) this.#sweeper.sweepLater();
        else this.#sweeper.sweep();
        return savedTx(
          info,
          outcome === "created" || outcome === "replaced"
            ? outcome
            : "unchanged",
        );
      }
      await this.#sweeper.discard(key);
      if (outcome === "late") this.#clock.askAgain();
      isNew = false;
    }
    throw new PohStorageError(
      "TOO_SLOW",
      `Cannot save tx ${
        JSON.stringify(info.txId)
      }: to send its payload took too long`,
    );
  }

  /**
   * What a save comes to where there is a row; null where it is to be committed:
   * it replaces, or mends a payload that is damaged or gone.
   */
  async #settle(
    { info: there, key }: CatalogEntry,
    info: TxInfo,
    rule: IfExists,
  ): Promise<SavedTx | null> {
    const outcome = decide(there, info, rule);
    if (outcome === "replaced") return null;
    if (outcome === "kept") return savedTx(there, outcome);
    const isSound = there.size === info.size &&
      await this.#hasDigest(key, info.storageHash);
    return isSound ? savedTx(there, outcome) : null;
  }

  /** Whether an object is there and can be read, with this digest. */
  async #hasDigest(key: string, digest: string): Promise<boolean> {
    try {
      return (await digestOf(this.#parts.objects, key))?.digest === digest;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      return false; // what cannot be read is saved anew
    }
  }

  /** Makes an object of an id that may be new; null where it is not. */
  async #placeFirst(
    info: TxInfo,
    source: PayloadSource,
  ): Promise<{ key: string; deadline: number } | null> {
    const { objects } = this.#parts;
    if (!await objects.canCreateOnce()) {
      return await this.#placeVersion(info, source);
    }
    const deadline = await this.#clock.deadline(this.#grace);
    const key = plainKey(info.txId);
    const isCreated = await objects.create(key, source, info.storageHash);
    return isCreated ? { key, deadline } : null;
  }

  /** Makes an object under a key of its own. */
  async #placeVersion(
    { txId, storageHash }: TxInfo,
    source: PayloadSource,
  ): Promise<{ key: string; deadline: number }> {
    const deadline = await this.#clock.deadline(this.#grace);
    const key = versionKey(txId, storageHash);
    if (await this.#parts.objects.create(key, source, storageHash)) {
      return { key, deadline };
    }
    throw new PohStorageError("KEY_TAKEN", `The new key ${key} is taken`);
  }

  async #isLikelyTaken({ txId, size }: TxInfo): Promise<boolean> {
    return size > LARGE && await this.#finds.submit(txId) !== null;
  }

  #remove(change: { remove: string; seen?: CatalogEntry }): Promise<boolean> {
    return this.#change(change.remove, async (before) => {
      await before;
      const isRemoved = isMade(await this.#commits.submit(change));
      if (isRemoved) this.#sweeper.sweep();
      return isRemoved;
    });
  }

  /** Removes the row that matches, and not one that has come since. */
  #removeMatching(txId: string, ifMatch: IfMatch): Promise<boolean> {
    return this.#change(txId, async (before) => {
      await before;
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        const seen = await this.#finds.submit(txId);
        if (!seen) return false;
        requireMatch(ifMatch, txId, seen.info);
        if (!isMade(await this.#commits.submit({ remove: txId, seen }))) {
          continue;
        }
        this.#sweeper.sweep();
        return true;
      }
      throw new PohStorageError(
        "TOO_SLOW",
        `Cannot delete tx ${
          JSON.stringify(txId)
        }: others change it all the time`,
      );
    });
  }

  #requireWriter(): void {
    if (!this.#readOnly) return;
    throw new PohStorageError("READ_ONLY", "The store is open read-only");
  }
}

/** Commits together; what a database refuses, it refuses of one alone. */
async function commitAll(
  catalog: Catalog,
  changes: CatalogChange[],
): Promise<(CatalogOutcome | Refused)[]> {
  try {
    return await catalog.commit(changes);
  } catch (error) {
    if (changes.length === 1 || !isRefusal(error)) throw error;
    const alone = async (change: CatalogChange) => {
      try {
        return (await catalog.commit([change]))[0]!;
      } catch (error) {
        return new Refused(error);
      }
    };
    return await Promise.all(changes.map(alone));
  }
}

/** Whether nothing was done, as what was to be kept is what cannot be. */
function isRefusal(error: unknown): boolean {
  return error instanceof InvalidTxError ||
    error instanceof PohStorageError && error.code === "DATABASE";
}

/** The pieces of a stream. */
function piecesOf(stream: ReadableStream<Uint8Array>): Pieces {
  const reader = stream.getReader();
  return {
    async next() {
      while (true) {
        const { done, value } = await reader.read();
        if (done) return null;
        if (value.length === 0) continue;
        // The verified stream takes all the memory of what it is given.
        const isWhole = value.length === value.buffer.byteLength;
        return isWhole
          ? value as Uint8Array<ArrayBuffer>
          : new Uint8Array(value);
      }
    },
    end: () => reader.cancel().catch(() => {}), // it has told
  };
}

/** What keeps a payload from being read is no damage: it is told as it is. */
async function readable<T>(
  txId: string,
  read: () => Promise<T>,
): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    const { message } = error as Error;
    throw new PayloadUnreadableError(txId, message, { cause: error });
  }
}

function localOnly(): PohStorageError {
  return new PohStorageError(
    "LOCAL_ONLY",
    "Only a store on this machine has a log",
  );
}
