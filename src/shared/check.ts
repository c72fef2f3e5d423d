/**
 * Verification and repair of a store that machines share, beside whoever uses
 * it: repairs happen under the catalog's lease, and only where a row is still
 * as it was seen, or where an object has waited for its row for longer than any
 * save may take.
 *
 * @module
 */

import {
  type RecoverOptions,
  runSteps,
  type Step,
  type VerifyOptions,
} from "../check/check.ts";
import { StoreBusyError } from "../errors.ts";
import { sha256HexSync } from "../files/hash.ts";
import {
  type Case,
  type Damage,
  type Healer,
  Healing,
} from "../check/healing.ts";
import type { Sources } from "../check/sources.ts";
import { judge, type Reading, readingOf } from "../check/two_readings.ts";
import { Pool } from "../async/pool.ts";
import type { QuarantineNote } from "../payloads/quarantine.ts";
import {
  type BriefFinding,
  emptyReport,
  type FindingKind,
  type StoreReport,
  tellFinding,
} from "../model/report.ts";
import { compareText } from "../text/text_order.ts";
import {
  type BadVerdict,
  describe,
  unreadable,
  type Verdict,
} from "../check/verdict.ts";
import { CatalogClock } from "./clock.ts";
import {
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  isMade,
  type Lease,
  type RemoteParts,
  type StoredObject,
} from "./contracts.ts";
import { isSameEntry } from "./entry.ts";
import { plainKey, txIdOfKey } from "./object_key.ts";
import { healRemote } from "./healer.ts";
import { casesOf, digestOf, keepCase, listCases } from "./quarantine.ts";
import { Sweeper, sweepRetired } from "./sweeper.ts";

/** Payloads read at the same time unless told otherwise, and their bytes. */
const WORKERS = 32;
const BYTES_IN_FLIGHT = 64 * 1024 * 1024;

/** Larger payloads, and those of unknown size, are never held whole. */
const WHOLE = 1024 * 1024;

/** Objects or ids looked up together. */
const PAGE = 512;

/** Verifies a store. */
export async function verifyRemote(
  parts: RemoteParts,
  options: VerifyOptions,
  grace: number,
  sources: Sources | null,
): Promise<StoreReport> {
  return await new RemoteCheck(parts, options, { grace, sources }).run();
}

/** A damaged payload of a store that machines share. */
interface RemoteDamage extends Damage {
  /** The row as it was seen, and the key that it names. */
  entry: CatalogEntry;
  /** SHA-256 of what is there; null when nothing is. */
  found: string | null;
  /** Until when it may be acted on. */
  deadline: number;
}

/**
 * Verifies and repairs a store.
 *
 * @throws {StoreBusyError} If somebody else repairs it; nothing was repaired.
 */
export async function recoverRemote(
  parts: RemoteParts,
  options: RecoverOptions,
  grace: number,
  sources: Sources | null,
): Promise<StoreReport> {
  const how = { grace, repair: options, sources };
  if (options.dryRun) return await new RemoteCheck(parts, options, how).run();
  await using lease = await parts.catalog.lease();
  return await new RemoteCheck(parts, options, { ...how, lease }).run();
}

/** One walk over a store. */
class RemoteCheck {
  readonly #parts: RemoteParts;
  readonly #options: VerifyOptions;
  readonly #grace: number;
  /** What to do about findings; null: only tell them. */
  readonly #repair: RecoverOptions | null;
  /** The right to carry it out; null: only tell it. */
  readonly #lease: Lease | null;
  readonly #clock: CatalogClock;
  readonly #report: StoreReport;
  /** Null where there is no source to heal from. */
  readonly #healing: Healing<RemoteDamage> | null;

  constructor(
    parts: RemoteParts,
    options: VerifyOptions,
    how: {
      grace: number;
      repair?: RecoverOptions;
      lease?: Lease;
      sources: Sources | null;
    },
  ) {
    this.#parts = parts;
    this.#options = options;
    this.#grace = how.grace;
    this.#repair = how.repair ?? null;
    this.#lease = how.lease ?? null;
    this.#clock = new CatalogClock(() => parts.catalog.now());
    this.#report = emptyReport(
      parts.objects.url,
      parts.catalog.url,
      parts.driver,
      this.#repair?.dryRun ?? false,
    );
    this.#healing = how.sources && new Healing(
      how.sources,
      this.#report,
      options,
      this.#repair,
      this.#healer(how.sources),
    );
  }

  async run(): Promise<StoreReport> {
    const healing = this.#healing;
    await runSteps(
      [
        ["database", (step) => this.#database(step)],
        ["payloads", (step) => this.#payloads(step)],
        ["heal", healing && ((step) => healing.run(step))],
        ["retired", (step) => this.#retired(step)],
        ["objects", (step) => this.#objects(step)],
        ["uploads", (step) => this.#uploads(step)],
      ],
      this.#report,
      this.#options,
      (detail) => this.#metadataDamage(detail),
    );
    this.#healing?.end();
    return this.#report;
  }

  // --- steps ------------------------------------------------------------------

  async #database(step: Step): Promise<void> {
    const lines = await this.#parts.catalog.checkIntegrity?.() ?? [];
    for (const line of lines) this.#metadataDamage(line);
    step.add(1, 0);
  }

  #metadataDamage(detail: string): void {
    this.#tell({ kind: "metadata-damaged", detail });
  }

  async #payloads(step: Step): Promise<void> {
    const { catalog } = this.#parts;
    const { filter = {}, sample = 1, until } = this.#options;
    const only = this.#repair?.only;
    const tasks = this.#options.workers ?? WORKERS;
    const pool = new Pool({ tasks, bytes: BYTES_IN_FLIGHT });
    const limit = this.#options.limit ?? filter.limit;
    const after = this.#options.after ?? filter.after;
    const scope = {
      ...filter,
      ...(after !== undefined && { after }),
      ...(limit !== undefined && { limit }),
    };
    if (only) step.total = only.size;
    else if (this.#options.onProgress && sample === 1 && until === undefined) {
      step.total = await catalog.count(scope);
    }
    const entries = only ? this.#named(only) : catalog.entries(scope);
    let seen = 0, last = after ?? null;
    try {
      for await (const entry of entries) {
        const { txId, size } = entry.info;
        if (until !== undefined && compareText(txId, until) > 0) break;
        if (this.#isInterrupted()) {
          this.#report.cursor = last;
          break;
        }
        if (sample === 1 || Math.random() < sample) {
          const bytes = size < 0 || size > WHOLE ? WHOLE : size;
          await pool.start(bytes, () => this.#transaction(entry, step));
        }
        seen++;
        last = txId;
      }
    } finally {
      await pool.end();
    }
    if (seen === limit) this.#report.cursor = last;
    // No later step does it.
    if (only && this.#lease) await sweepRetired(this.#parts.objects, catalog);
  }

  /** The rows of these ids, in pages. */
  async *#named(txIds: Iterable<string>): AsyncGenerator<CatalogEntry> {
    const all = [...txIds];
    for (let at = 0; at < all.length; at += PAGE) {
      const page = await this.#parts.catalog.find(all.slice(at, at + PAGE));
      for (const entry of page) if (entry) yield entry;
    }
  }

  /** Finishes deletions that were left half-done, or are under way. */
  async #retired(step: Step): Promise<void> {
    if (!this.#lease) return;
    const { objects, catalog } = this.#parts;
    await sweepRetired(objects, catalog, { onDeleted: () => step.add(1, 0) });
    await catalog.forgetRetired();
  }

  async #objects(step: Step): Promise<void> {
    const { objects } = this.#parts;
    const before = await objects.now() - this.#grace;
    let page: StoredObject[] = [];
    for await (const object of objects.list()) {
      if (this.#isInterrupted()) return;
      if (txIdOfKey(object.key) === null) continue;
      step.add(1, 0);
      // A younger one may be that of a save under way.
      if (object.modified < before) page.push(object);
      if (page.length < PAGE) continue;
      await this.#orphansIn(page);
      page = [];
    }
    await this.#orphansIn(page);
    // Those that went to quarantine.
    if (this.#lease) await sweepRetired(objects, this.#parts.catalog);
  }

  async #uploads(step: Step): Promise<void> {
    if (!this.#lease) return;
    const { objects } = this.#parts;
    const count = await objects.deleteAbandoned(
      await objects.now() - this.#grace,
    );
    step.add(count, 0);
    if (count === 0) return;
    this.#tell({
      kind: "leftover-temp",
      detail: `${count} upload${
        count === 1 ? " that was" : "s that were"
      } broken off`,
      action: "removed",
    });
  }

  // --- payloads ---------------------------------------------------------------

  async #transaction(seen: CatalogEntry, step: Step): Promise<void> {
    const deadline = await this.#clock.deadline(this.#grace);
    const judged = await this.#judge(seen);
    if (judged === null) return; // deleted meanwhile
    const { entry, verdict } = judged;
    this.#report.checked++;
    this.#report.bytes += verdict.size;
    step.add(1, verdict.size);
    if (verdict.kind === "sound") this.#sound(entry.info.txId);
    else await this.#onDamage(entry, verdict, deadline);
  }

  /** Holds a row against its object; null when the row is gone by now. */
  async #judge(
    seen: CatalogEntry,
  ): Promise<{ entry: CatalogEntry; verdict: Verdict } | null> {
    const judged = await judge(
      seen,
      (entry) => this.#read(entry),
      async ({ info }) =>
        (await this.#parts.catalog.find([info.txId]))[0] ?? null,
      isSameEntry,
    );
    if (judged === null) return null;
    const { row: entry } = judged;
    if (judged.kind === "unreadable") {
      return { entry, verdict: unreadable(judged.failure) };
    }
    if (judged.kind === "damaged") {
      const size = judged.found?.size ?? 0,
        found = judged.found?.digest ?? null;
      const kind = found === null ? "payload-missing" : "payload-corrupt";
      return { entry, verdict: { kind, size, found } };
    }
    const { digest, size } = judged.sound;
    const isSound = entry.info.size === -1 || entry.info.size === size;
    const verdict: Verdict = isSound
      ? { kind: "sound", size }
      : { kind: "size-mismatch", size, found: digest };
    return { entry, verdict };
  }

  async #read(entry: CatalogEntry): Promise<Reading<Digest>> {
    try {
      return readingOf(await this.#digest(entry), entry.info.storageHash);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      return { sound: null, other: null, failure: error as Error };
    }
  }

  async #digest({ info: { size }, key }: CatalogEntry): Promise<Digest | null> {
    const { objects } = this.#parts;
    if (size >= 0 && size <= WHOLE) {
      const bytes = await objects.read(key);
      return bytes && { digest: sha256HexSync(bytes), size: bytes.length };
    }
    return await digestOf(objects, key);
  }

  async #onDamage(
    entry: CatalogEntry,
    verdict: BadVerdict,
    deadline: number,
  ): Promise<void> {
    const { info, key } = entry;
    const { txId, storageHash } = info;
    const { kind, size, found } = verdict;
    const detail = describe(verdict, info);
    const finding = {
      kind,
      txId,
      file: key,
      expected: storageHash,
      found,
      detail,
    };
    if (kind === "unreadable") return this.#tell(finding);
    if (kind === "size-mismatch") {
      if (!this.#repair) return this.#tell(finding);
      if (this.#lease) {
        const put = { info: { ...info, size }, key };
        const outcome = await this.#commit({ put, deadline, seen: entry });
        if (outcome === "late") return this.#tell(finding); // the next one's
        if (!isMade(outcome)) return; // replaced meanwhile
      }
      this.#sound(txId);
      return this.#tell({ ...finding, action: "corrected" });
    }
    const damage = {
      info,
      entry,
      finding: { ...finding, kind },
      found,
      deadline,
    };
    if (this.#healing) await this.#healing.add(damage);
    else await this.#giveUp(damage);
  }

  async #giveUp({ entry, finding, found, deadline }: RemoteDamage) {
    if (!this.#repair) return this.#tell(finding);
    if (this.#lease) {
      const isKept = this.#repair.purge ||
        await this.#keepDamaged(entry, finding.kind, found);
      if (!isKept) return this.#tellChanging(finding);
      // The object of a row that goes is retired with it, and goes later.
      const { txId } = entry.info;
      const outcome = await this.#commit({
        remove: txId,
        deadline,
        seen: entry,
      });
      if (outcome === "late") return this.#tell(finding); // the next one's
      if (!isMade(outcome)) return; // replaced meanwhile
    }
    const action = this.#repair.purge ? "purged" : "quarantined";
    this.#tell({ ...finding, action });
  }

  #keepDamaged(
    { info, key }: CatalogEntry,
    kind: "payload-missing" | "payload-corrupt",
    found: string | null,
  ): Promise<boolean> {
    const { txId, storageHash } = info;
    const note = caseOf(txId, kind, found);
    return this.#keep(key, { ...note, expected: storageHash, row: info });
  }

  #healer(sources: Sources): Healer<RemoteDamage> {
    const { objects, catalog } = this.#parts;
    const purge = this.#repair?.purge ?? false;
    const store = this.#lease && {
      objects,
      deadline: () => this.#clock.deadline(this.#grace),
      commit: (change: CatalogChange) => this.#commit(change),
      discard: (key: string) => new Sweeper(objects, catalog).discard(key),
    };
    const { signal } = this.#options;
    return {
      heal: (damage, onFound) => {
        const lost = damage.map(({ info, entry, finding, found }) => ({
          info,
          seen: entry,
          ...(!purge && found !== null && {
            keep: () => this.#keepDamaged(entry, finding.kind, found),
          }),
        }));
        return healRemote(store, sources, lost, signal, onFound);
      },
      giveUp: (damage) => this.#giveUp(damage),
      cases: () => this.#outOfService(),
      healCases: async (cases, onFound) => {
        const lost = cases.map(({ row }) => ({ info: row, seen: null }));
        const found = await healRemote(store, sources, lost, signal, onFound);
        if (!store) return found;
        for (const { name, note, row } of cases) {
          const isClosed = purge || note.found === null;
          if (found.has(row.txId) && isClosed) {
            await casesOf(objects).remove(name);
          }
        }
        return found;
      },
      onSound: (txId) => this.#sound(txId),
    };
  }

  async *#outOfService(): AsyncGenerator<Case> {
    const { objects, catalog } = this.#parts;
    for await (const { name, size: _, ...note } of listCases(objects)) {
      const { row } = note;
      if (row === null) continue;
      const [now] = await catalog.find([row.txId]);
      if (!now) yield { name, note, row };
      // Healed by a run that a crash ended, or saved again.
      else if (
        this.#lease && note.found === null &&
        now.info.storageHash === row.storageHash
      ) await casesOf(objects).remove(name);
    }
  }

  #tellChanging(finding: BriefFinding): void {
    const detail =
      "its payload cannot be read: it does not read the same twice";
    this.#tell({ ...finding, kind: "unreadable", detail });
  }

  // --- orphans ----------------------------------------------------------------

  async #orphansIn(page: StoredObject[]): Promise<void> {
    if (page.length === 0) return;
    const { catalog } = this.#parts;
    const keys = page.map(({ key }) => key);
    const named = await catalog.named(keys);
    const others = keys.filter((key) => !named.has(key));
    if (others.length === 0) return;
    // In this order: what loses its row in between is retired with it.
    const retired = await catalog.retiredOf(others);
    for (const object of page) {
      const { key } = object;
      if (!named.has(key) && !retired.has(key)) await this.#orphan(object);
    }
  }

  async #orphan(object: StoredObject): Promise<void> {
    const { key } = object;
    const txId = txIdOfKey(key)!;
    const [row] = await this.#parts.catalog.find([txId]);
    const finding = {
      kind: "orphan-payload" as const,
      txId,
      file: key,
      detail: row
        ? "the payload of this transaction is elsewhere"
        : "an object that no row refers to",
    };
    const choice = this.#repair?.orphans ?? "keep";
    if (choice === "keep" || choice === "adopt" && row) {
      return this.#tell(finding);
    }
    const deadline = await this.#clock.deadline(this.#grace);
    const found = await digestOf(this.#parts.objects, key);
    if (!found) return; // deleted meanwhile
    const { digest } = found;
    if (choice === "adopt") {
      const isAdopted = !this.#lease ||
        await this.#adopt(object, txId, found, deadline);
      if (!isAdopted) return;
      this.#sound(txId);
      return this.#tell({ ...finding, found: digest, action: "adopted" });
    }
    if (this.#lease) {
      const note = caseOf(txId, finding.kind, digest);
      if (!await this.#keep(key, note)) return this.#tellChanging(finding);
      const { token } = this.#requireLease();
      const retired = await this.#parts.catalog.retire([key], token);
      if (!retired.has(key)) return; // it has got a row
    }
    this.#tell({ ...finding, action: "quarantined" });
  }

  /** False where the id has got a row meanwhile. */
  async #adopt(
    { key, modified }: StoredObject,
    txId: string,
    { digest, size }: Digest,
    deadline: number,
  ): Promise<boolean> {
    const info = { txId, holderId: "", timestamp: modified };
    const put = { info: { ...info, storageHash: digest, size }, key };
    return isMade(await this.#commit({ put, deadline, seen: null }));
  }

  /** Before what it tells of goes; false when that is not so any more. */
  #keep(key: string, note: QuarantineNote): Promise<boolean> {
    const file = plainKey(note.txId!);
    return keepCase(this.#parts.objects, key, file, note);
  }

  // --- help -------------------------------------------------------------------

  #sound(txId: string): void {
    this.#report.sound++;
    this.#options.onSound?.(txId);
  }

  async #commit(change: CatalogChange): Promise<CatalogOutcome> {
    const { token } = this.#requireLease();
    const [outcome] = await this.#parts.catalog.commit([change], token);
    return outcome!;
  }

  #requireLease(): Lease {
    if (!this.#lease!.signal.aborted) return this.#lease!;
    throw new StoreBusyError("Another process repairs the store by now", []);
  }

  #isInterrupted(): boolean {
    if (this.#options.signal?.aborted) this.#report.interrupted = true;
    return this.#report.interrupted;
  }

  #tell(finding: BriefFinding): void {
    tellFinding(this.#report, finding, this.#options.onFinding);
  }
}

interface Digest {
  digest: string;
  size: number;
}

/** A note about what no row is known to be about. */
function caseOf(
  txId: string,
  reason: FindingKind,
  found: string | null,
): QuarantineNote {
  const at = new Date().toISOString();
  return { txId, reason, at, expected: null, found, row: null };
}
