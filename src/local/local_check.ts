/**
 * The walk over a store on this machine, step by step. `verify` reads and
 * reports; `recover` is the same walk with repairs, while nobody else writes.
 * Only proven damage is acted on, and what is taken out of service is kept in
 * quarantine.
 *
 * @module
 */

import { join, relative } from "@std/path";
import {
  type CheckStep,
  isLimited,
  type RecoverOptions,
  runSteps,
  type Step,
  type VerifyOptions,
} from "../check/check.ts";
import { CheckThread } from "./check_thread.ts";
import { crashPoint } from "../async/crash_points.ts";
import { namesIn, regularSize, removeLeftover } from "../files/durable_fs.ts";
import {
  bytesInLog,
  digestOfSource,
  judgePayload,
  readPayload,
  readSource,
} from "./find_payload.ts";
import {
  type Case,
  type Damage,
  type Healer,
  Healing,
} from "../check/healing.ts";
import { healLocal, type Lost } from "./local_healer.ts";
import type { Sources } from "../check/sources.ts";
import { checkIntegrity, isLarge } from "../sqlite/integrity.ts";
import { placeOf } from "../payloads/payload_layout.ts";
import { KnownFiles } from "./known_files.ts";
import {
  acceptDamage,
  type LogDamage,
  rememberedDamage,
} from "../log/damage.ts";
import { hasFollowed, isVoid } from "../log/follow.ts";
import type { LogRecord } from "../log/record.ts";
import { type Replayed, survey } from "../log/replay.ts";
import { listHolders } from "../files/locks.ts";
import {
  type OpenStore,
  removal,
  requireInPlace,
  saving,
  writerOf,
} from "./open_store.ts";
import { PayloadLook } from "./payload_look.ts";
import {
  closeCase,
  quarantineFile,
  type QuarantineNote,
  readableCases,
  writeBytes,
  writeNote,
} from "../payloads/quarantine.ts";
import {
  type BriefFinding,
  emptyReport,
  type StoreReport,
  tellFinding,
} from "../model/report.ts";
import { QuickLook } from "./quick_look.ts";
import { compareText } from "../text/text_order.ts";
import { Pacer } from "../async/turn.ts";
import {
  MetadataDamagedError,
  PohStorageError,
  StoreBusyError,
} from "../errors.ts";
import type { TxInfo } from "../types.ts";
import {
  type BadLocalVerdict,
  damaged,
  describe,
  type LocalVerdict,
  unreadable,
} from "../check/verdict.ts";
import { placeWaiting, type Waiting, waitingRows } from "./waiting.ts";
import { hasLog } from "../sqlite/open_database.ts";
import { logState } from "../sqlite/log_state.ts";
import { putRow } from "../sqlite/row_changes.ts";
import { findInfo, findRow } from "../sqlite/lookups.ts";
import { pageOfRows } from "../sqlite/tx_pages.ts";
import { countTxs } from "../sqlite/tx_counts.ts";
import { findOddRows, isAsRead } from "../sqlite/odd_rows.ts";
import { dataVersion } from "../sqlite/overlay.ts";

/** Files looked up at a time, and rows read at a time. */
const FILES = 256, ROWS = 512;

/** Verifies an open store. */
export async function verifyRows(
  store: OpenStore,
  options: VerifyOptions,
  sources: Sources | null = null,
): Promise<StoreReport> {
  return await new LocalCheck(store, options, null, sources).run();
}

/** Verifies and repairs an open store. */
export async function recoverStore(
  store: OpenStore,
  options: RecoverOptions,
  sources: Sources | null = null,
): Promise<StoreReport> {
  requireAll(options);
  const check = () => new LocalCheck(store, options, options, sources).run();
  if (options.dryRun) return await check();
  const { locks, queue } = writerOf(store);
  await queue.flush();
  const done = await locks.whileAlone(check);
  if (!done) {
    throw new StoreBusyError(
      "The store is open elsewhere, nothing was repaired",
      locks.others(),
    );
  }
  return done.value;
}

/** What a crash left half-done has to be finished before anything is judged. */
export function requireAll({ only }: RecoverOptions): void {
  if (only === undefined) return;
  throw new PohStorageError(
    "REMOTE_ONLY",
    "A store on this machine is recovered as a whole",
  );
}

/** A damaged payload of a store on this machine. */
interface LocalDamage extends Damage {
  /** SHA-256 of what is in its place; null when nothing is. */
  found: string | null;
  /** The name of its file; null where no file can stand for the id. */
  file: string | null;
}

/** One walk. */
class LocalCheck {
  readonly #store: OpenStore;
  readonly #options: VerifyOptions;
  /** What to do about findings; null: only tell them. */
  readonly #repair: RecoverOptions | null;
  readonly #report: StoreReport;
  /** Null where there is no source to heal from. */
  readonly #healing: Healing<LocalDamage> | null;
  /** Changes that the database has lost by going back to an earlier state. */
  #lost = 0;
  /** The second thread; null where the store is small or there can be none. */
  #thread: CheckThread | null = null;
  /** A look at all payloads that has begun; null: none has. */
  #look: PayloadLook | null = null;
  /** How many payload files there were, at which state of the store. */
  #census: { files: number; state: string } | null = null;
  /** Rows that have a payload file of their own, no two of them the same. */
  #owners = 0;
  readonly #pacer = new Pacer();

  constructor(
    store: OpenStore,
    options: VerifyOptions,
    repair: RecoverOptions | null,
    sources: Sources | null,
  ) {
    this.#store = store;
    this.#options = options;
    this.#repair = repair;
    this.#report = emptyReport(
      store.files.basePath,
      store.rows.path,
      store.rows.driver,
      repair?.dryRun ?? false,
    );
    this.#healing = sources && new Healing(
      sources,
      this.#report,
      options,
      repair,
      this.#healer(sources),
    );
  }

  /**
   * Whether repairs are carried out, not only told. Asked before each: what was
   * found in the place of a store that was moved is no damage.
   *
   * @throws {StoreMovedError} If the store was moved meanwhile.
   */
  #mayAct(): boolean {
    if (this.#repair === null || this.#repair.dryRun) return false;
    requireInPlace(this.#store);
    return true;
  }

  /** Whether an outdated database is taken as it is: what it has lost is known. */
  get #accepts(): boolean {
    return this.#repair !== null && !this.#repair.skipPayloads;
  }

  async run(): Promise<StoreReport> {
    try {
      return await this.#run();
    } finally {
      this.#look?.stop();
      await this.#thread?.[Symbol.asyncDispose]();
    }
  }

  async #run(): Promise<StoreReport> {
    requireInPlace(this.#store);
    const isWhole = await runSteps(
      [
        ["database", (step) => this.#database(step)],
        ["log", (step) => this.#log(step)],
        ["payloads", async (step) => {
          await this.#payloads(step);
          this.#oddRows();
        }],
        ...this.#healSteps(),
        ["files", (step) => this.#files(step)],
        ["leftovers", (step) => this.#leftovers(step)],
      ],
      this.#report,
      this.#options,
      (detail) => this.#metadataDamage(detail),
    );
    this.#healing?.end();
    requireInPlace(this.#store);
    if (isWhole && this.#mayAct()) {
      if (this.#accepts) await acceptDamage(this.#store.rows);
      await this.#store.rows.wal.flush();
    }
    return this.#report;
  }

  #healSteps(): CheckStep[] {
    const healing = this.#healing;
    return healing ? [["heal", (step) => healing.run(step)]] : [];
  }

  get #dbFile(): string {
    return relative(this.#report.base, this.#report.db);
  }

  // --- steps ------------------------------------------------------------------

  async #database(step: Step): Promise<void> {
    const { rows } = this.#store;
    step.add(0, 0); // it can take a while
    if (isLarge(rows)) {
      const { signal } = this.#options;
      this.#thread = await CheckThread.start(this.#store, signal);
    }
    const [lines, census] = await this.#whileLooking(
      Promise.all([this.#integrity(), this.#countFiles()]),
    );
    this.#census = census;
    if (lines === null) {
      this.#report.interrupted = true;
      return;
    }
    for (const line of lines) this.#metadataDamage(line);
    const { lostChanges, details } = this.#logDamage();
    this.#lost = lostChanges;
    for (const detail of details) {
      this.#tell({
        kind: "log-damaged",
        detail,
        action: this.#accepts ? "accepted" : "none",
      });
    }
    if (this.#lost > 0) {
      this.#tell({
        kind: "metadata-outdated",
        file: this.#dbFile,
        detail:
          `the database is as it was before its last ${this.#lost} changes; payloads may be newer than their rows`,
        action: this.#accepts ? "accepted" : "none",
      });
    }
    step.add(1, 0);
  }

  /** As `checkIntegrity`, on the thread where there is one. */
  async #integrity(): Promise<string[] | null> {
    const { signal } = this.#options;
    const lines = await this.#thread?.integrity();
    if (lines || signal?.aborted) return lines ?? null;
    return await checkIntegrity(this.#store.rows, signal);
  }

  /**
   * Waits for the thread, and looks at payloads meanwhile: only looks, as what a
   * damaged database says proves nothing about them.
   */
  async #whileLooking<T>(others: Promise<T>): Promise<T> {
    if (!this.#thread || !this.#isForAll() || this.#mayFollow()) return others;
    let isOver = false;
    const look = async () => {
      try {
        this.#look = await this.#beginLook();
        await this.#look?.early(() => isOver);
      } catch (error) {
        if (!(error instanceof MetadataDamagedError)) throw error;
        this.#look?.stop(); // SQLite's own check tells more
        this.#look = null;
      }
    };
    const [result] = await Promise.all([
      others.finally(() => isOver = true),
      look(),
    ]);
    return result;
  }

  /** Whether this check is of all payloads, in whatever order. */
  #isForAll(): boolean {
    const { skipPayloads } = this.#repair ?? {};
    return !isLimited(this.#options) && !this.#options.onSound && !skipPayloads;
  }

  /** Whether the next step may change rows or files. */
  #mayFollow(): boolean {
    const { rows, log } = this.#store;
    if (!this.#mayAct() || !hasLog(rows)) return false;
    const { applied, filesSynced } = logState(rows);
    return filesSynced < applied || log.isAhead();
  }

  async #beginLook(): Promise<PayloadLook | null> {
    const count = await countTxs(this.#store.rows);
    const { signal } = this.#options;
    const [store, pacer, thread] = [this.#store, this.#pacer, this.#thread];
    return PayloadLook.begin(store, count, pacer, thread, signal);
  }

  /** Null where they cannot be counted: the step that lists them tells why. */
  async #countFiles(): Promise<{ files: number; state: string } | null> {
    try {
      const state = this.#state();
      if (state === null) return null;
      if (this.#thread && this.#store.files.hasOwnNames) {
        const files = await this.#thread.countFiles();
        if (files !== null) return { files, state };
      }
      let count = 0;
      for await (const _ of this.#store.files.files()) {
        if (this.#options.signal?.aborted) return null;
        count++;
      }
      return { files: count, state };
    } catch {
      return null;
    }
  }

  /**
   * Another one once anyone has put a payload file in its place. Null beside
   * another writer: files of its commits may be on their way.
   */
  #state(): string | null {
    const { files, rows, writer } = this.#store;
    const others = writer?.locks.others() ?? listHolders(files.basePath);
    if (others.length > 0) return null;
    return `${dataVersion(rows.connection)} ${writer?.queue.filesPut}`;
  }

  #metadataDamage(detail: string): void {
    this.#tell({
      kind: "metadata-damaged",
      file: this.#dbFile,
      detail,
      action: this.#repair?.rebuild && this.#repair.dryRun ? "rebuilt" : "none",
    });
  }

  /** What the log and the database have lost, held against each other. */
  #logDamage(): LogDamage {
    const { files, rows, log } = this.#store;
    const known = rememberedDamage(rows);
    const acts = this.#mayAct();
    // A live writer's log goes on while it is looked at.
    const isAlone = acts || listHolders(files.basePath).length === 0;
    if (!isAlone || !hasLog(rows)) return known;
    const { lostChanges, details } = survey(log.dir, rows);
    // Somebody may have begun to write meanwhile.
    if (!acts && listHolders(files.basePath).length > 0) return known;
    return {
      lostChanges: known.lostChanges + lostChanges,
      details: [...new Set([...known.details, ...details])],
    };
  }

  async #log(step: Step): Promise<void> {
    const { files, rows, log, writer } = this.#store;
    if (this.#mayAct()) {
      await writer!.queue.replay((replayed) => {
        step.add(1, 0);
        this.#census = null; // files may have come and gone
        this.#look?.stop();
        this.#look = null;
        if (replayed.outcome !== "done") this.#unfinished(replayed);
      });
      await placeWaiting(files, rows, (waiting) => this.#tellWaiting(waiting));
      return;
    }
    // Beside a live writer its records are the normal course of things.
    if (listHolders(files.basePath).length > 0) return;
    for await (const waiting of waitingRows(files, rows)) {
      this.#tellWaiting(waiting);
    }
    if (!hasLog(rows)) return;
    const { applied } = logState(rows);
    for (const record of log.pending()) {
      step.add(1, 0);
      const { txId, kind, position } = record;
      if (position >= applied) {
        this.#unfinished({ txId, kind, outcome: "finished" });
      } else if (isVoid(record, this.#store)) {
        this.#unfinished({ txId, kind, outcome: "void" });
      } else await this.#tellUnlessFollowed(record);
      await this.#pacer.giveWay();
    }
  }

  async #tellUnlessFollowed(record: LogRecord): Promise<void> {
    const { txId, kind } = record;
    try {
      if (await hasFollowed(record, this.#store)) return;
      this.#unfinished({ txId, kind, outcome: "finished" });
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      const reason = (error as Error).message;
      this.#unfinished({ txId, kind, outcome: "stuck", reason });
    }
  }

  #tellWaiting({ info: { txId } }: Waiting): void {
    this.#census = null;
    this.#unfinished({ txId, kind: "put-staged", outcome: "finished" });
  }

  #unfinished({ txId, kind, outcome, reason }: Replayed): void {
    const half = `a crash left a change half-done: ${
      kind === "put-staged" ? "put" : kind
    } of its payload`;
    this.#tell({
      kind: "unfinished",
      txId,
      detail: outcome === "void"
        ? "a crash left a change that another one has overtaken"
        : outcome === "stuck"
        ? `${half}, which cannot be finished now: ${reason}`
        : half,
      action: this.#repair === null || outcome === "stuck"
        ? "none"
        : outcome === "void"
        ? "dropped"
        : "finished",
    });
  }

  /** Those that no list has; some are known only once all have been read. */
  #oddRows(): void {
    for (const { id, reason, listed } of findOddRows(this.#store.rows)) {
      if (listed) continue;
      this.#tell({
        kind: "odd-row",
        file: this.#dbFile,
        detail: `row ${id}: ${reason}`,
      });
    }
  }

  async #payloads(step: Step): Promise<void> {
    if (this.#isForAll()) this.#look ??= await this.#beginLook();
    return await (this.#look
      ? this.#allPayloads(this.#look, step)
      : this.#payloadsById(step));
  }

  /** All, in no order that a later check could go on from. */
  async #allPayloads(look: PayloadLook, step: Step): Promise<void> {
    const { rows } = this.#store;
    step.total = await countTxs(rows);
    for await (const { sound, bytes, inFiles, unsure } of look) {
      if (this.#isInterrupted()) return;
      this.#owners += inFiles;
      this.#report.checked += sound;
      this.#report.sound += sound;
      this.#report.bytes += bytes;
      if (sound > 0) step.add(sound, bytes);
      for (const txId of unsure) {
        if (this.#isInterrupted()) return;
        const info = isAsRead(rows, txId) ? findInfo(rows, txId) : null;
        if (info) await this.#transaction(info, step);
        await this.#pacer.giveWay();
      }
    }
    this.#isInterrupted();
  }

  async #payloadsById(step: Step): Promise<void> {
    const { files, rows, log } = this.#store;
    const { filter = {}, sample = 1, until } = this.#options;
    const quick = new QuickLook({ files, dir: log.dir });
    let left = this.#options.limit ?? filter.limit ?? Infinity;
    let after = this.#options.after ?? filter.after;
    const scope = () => ({ ...filter, ...(after !== undefined && { after }) });
    step.total = sample === 1
      ? Math.min(left, await countTxs(rows, scope()))
      : null;
    for (let isLast = left === 0; !isLast;) {
      const limit = Math.min(left, ROWS);
      const all = pageOfRows(rows, { ...scope(), limit });
      const page = until === undefined
        ? all
        : all.filter(({ info }) => compareText(info.txId, until) <= 0);
      isLast = page.length < limit || page.length === left;
      const chosen = sample === 1
        ? page
        : page.filter(() => Math.random() < sample);
      const sound = await quick.look(chosen, this.#pacer);
      for (const [i, { info, place }] of chosen.entries()) {
        if (this.#isInterrupted()) {
          this.#report.cursor = after ?? null;
          return;
        }
        if (!sound[i]) await this.#transaction(info, step);
        else {
          if (place === null) this.#owners++;
          this.#sound(info, info.size, step);
        }
        await this.#pacer.giveWay();
        after = info.txId;
      }
      after = page.at(-1)?.info.txId ?? after;
      left -= page.length;
    }
    if (left === 0) this.#report.cursor = after ?? null;
  }

  #isInterrupted(): boolean {
    return this.#report.interrupted ||= this.#options.signal?.aborted === true;
  }

  async #transaction(seen: TxInfo, step: Step): Promise<void> {
    const judged = await this.#judge(seen);
    if (judged === null) return; // deleted meanwhile
    const { info, verdict } = judged;
    if (verdict.kind !== "unreadable" && this.#ownsFile(info)) this.#owners++;
    if (verdict.kind === "sound") return this.#sound(info, verdict.size, step);
    this.#checked(verdict.size, step);
    await this.#onDamage(info, verdict);
  }

  #sound({ txId }: TxInfo, size: number, step: Step): void {
    this.#checked(size, step);
    this.#report.sound++;
    this.#options.onSound?.(txId);
  }

  #checked(size: number, step: Step): void {
    this.#report.checked++;
    this.#report.bytes += size;
    step.add(1, size);
  }

  /** Whether a row has a payload file. */
  #ownsFile(info: TxInfo): boolean {
    const { files, rows } = this.#store;
    return findRow(rows, info.txId)?.place === null &&
      files.find(info.txId) !== null;
  }

  /** Holds one row against its payload; null when the row is gone by now. */
  async #judge(
    seen: TxInfo,
  ): Promise<{ info: TxInfo; verdict: LocalVerdict } | null> {
    const judged = await judgePayload(this.#store, seen, digestOfSource);
    if (judged === null) return null;
    const { row: info } = judged;
    if (judged.kind === "unreadable") {
      return { info, verdict: unreadable(judged.failure) };
    }
    if (judged.kind === "damaged") {
      return { info, verdict: damaged(info, judged.found) };
    }
    const { digest: found, size } = judged.sound;
    const place = findRow(this.#store.rows, info.txId)?.place ?? null;
    const verdict: LocalVerdict = info.size !== -1 && info.size !== size
      ? { kind: "size-mismatch", size, found }
      : place === null || this.#store.log.at(place)
      ? { kind: "sound", size }
      : { kind: "log-damaged", size, found };
    return { info, verdict };
  }

  async #onDamage(
    info: TxInfo,
    verdict: BadLocalVerdict,
  ): Promise<void> {
    const file = this.#fileOf(info.txId);
    const base = {
      kind: verdict.kind,
      txId: info.txId,
      file,
      expected: info.storageHash,
      found: verdict.found,
      detail: describe(verdict, info),
    };
    if (verdict.kind === "unreadable") return this.#tell(base);
    const { kind, found } = verdict;
    if (kind === "payload-missing" || kind === "payload-corrupt") {
      const damage = { info, finding: { ...base, kind }, found, file };
      if (this.#healing) await this.#healing.add(damage);
      else await this.#giveUp(damage);
      return;
    }
    if (this.#mayAct()) await this.#correct(info, verdict);
    if (this.#repair) this.#becomesSound(info.txId);
    this.#tell({ ...base, action: this.#repair ? "corrected" : "none" });
  }

  /** Puts right what is wrong around a payload that is sound. */
  async #correct(info: TxInfo, { kind, size, found }: BadLocalVerdict) {
    const { rows, writer } = this.#store;
    if (kind !== "log-damaged") {
      const storageHash = found!;
      const place = findRow(rows, info.txId)?.place ?? null;
      await rows.change(() =>
        putRow(rows, { ...info, storageHash, size }, place)
      );
      return;
    }
    const { sound } = await readPayload(
      this.#store,
      info,
      (source) => readSource(info.txId, source),
    );
    if (!sound) return;
    const entry = saving(info, { payload: sound.bytes, isPacked: true });
    await writer!.queue.submit({ entry, seen: info });
  }

  async #giveUp({ info, finding, found, file }: LocalDamage): Promise<void> {
    if (this.#mayAct()) await this.#takeOut(info, finding.kind, found, file);
    const action = this.#repair?.purge ? "purged" : "quarantined";
    this.#tell({ ...finding, action: this.#repair ? action : "none" });
  }

  #healer(sources: Sources): Healer<LocalDamage> {
    const { signal } = this.#options;
    const purge = this.#repair?.purge ?? false;
    const find = (lost: Lost[], onFound: (info: TxInfo) => void) =>
      healLocal(this.#store, sources, lost, {
        act: this.#mayAct(),
        onFound,
        ...(signal && { signal }),
      });
    return {
      heal: (damage, onFound) => {
        const lost = damage.map(({ info, found, file }): Lost => ({
          info,
          isOut: false,
          damaged: !purge && found !== null && file !== null
            ? { digest: found, file }
            : null,
        }));
        return find(lost, onFound);
      },
      giveUp: (damage) => this.#giveUp(damage),
      cases: () => this.#outOfService(),
      healCases: async (cases, onFound) => {
        const lost = cases.map(({ row }): Lost => ({
          info: row,
          isOut: true,
          damaged: null,
        }));
        const found = await find(lost, onFound);
        if (!this.#mayAct()) return found;
        for (const { name, row } of cases) {
          if (!found.has(row.txId)) continue;
          crashPoint("case healed");
          closeCase(this.#report.base, name, purge);
        }
        return found;
      },
      onSound: (txId) => this.#becomesSound(txId),
    };
  }

  async *#outOfService(): AsyncGenerator<Case> {
    const { files, rows } = this.#store;
    for await (const { name, note } of readableCases(files.basePath)) {
      const { row } = note;
      if (!row) continue;
      const now = findInfo(rows, row.txId);
      if (now === null) yield { name, note, row };
      // Healed by a run that a crash ended, or saved again.
      else if (this.#mayAct() && now.storageHash === row.storageHash) {
        closeCase(files.basePath, name, false);
      }
    }
  }

  /** The note first, then the row with an entry for the file, then the file. */
  async #takeOut(
    info: TxInfo,
    reason: "payload-missing" | "payload-corrupt",
    found: string | null,
    file: string | null,
  ): Promise<void> {
    const { queue } = this.#store.writer!;
    const { txId, storageHash } = info;
    if (this.#repair!.purge) {
      await queue.submit({ entry: removal(txId) });
      return;
    }
    const note: QuarantineNote = {
      txId,
      reason,
      at: new Date().toISOString(),
      expected: storageHash,
      found,
      row: info,
    };
    const name = await writeNote(this.#report.base, file, note);
    // What lives in the log goes with the row.
    const bytes = bytesInLog(this.#store, txId);
    if (bytes) await writeBytes(this.#report.base, name, bytes);
    crashPoint("note written");
    await queue.submit({
      entry: {
        ...removal(txId),
        kind: "quarantine",
        name: `${name}.bin`,
      },
    });
  }

  async #files(step: Step): Promise<void> {
    if (this.#areAllOwned()) return step.add(this.#owners, 0);
    const { files, rows } = this.#store;
    const known = new KnownFiles(files, rows);
    let batch: { place: string; txId: string | null }[] = [];
    for await (const file of files.files()) {
      batch.push(file);
      if (batch.length < FILES) continue;
      await this.#orphansIn(batch, known, step);
      if (this.#report.interrupted) return;
      batch = [];
    }
    await this.#orphansIn(batch, known, step);
  }

  /** As many files as rows that own one: then there is none without a row. */
  #areAllOwned(): boolean {
    return this.#store.files.hasOwnNames && this.#census !== null &&
      this.#census.files === this.#owners &&
      this.#census.state === this.#state();
  }

  async #orphansIn(
    batch: { place: string; txId: string | null }[],
    knownFiles: KnownFiles,
    step: Step,
  ): Promise<void> {
    const { files, rows, log } = this.#store;
    // A row of these may follow meanwhile: so they are asked for first.
    const pending = hasLog(rows) ? log.positions() : new Map();
    const known = await knownFiles.among(batch.map(({ place }) => place));
    for (const { place, txId } of batch) {
      if (this.#options.signal?.aborted) {
        this.#report.interrupted = true;
        return;
      }
      step.add(1, 0);
      try {
        if (known.has(place)) continue;
        if (txId !== null && pending.has(txId)) continue;
        const size = regularSize(join(files.basePath, place));
        const hasRow = txId !== null && findInfo(rows, txId) !== null;
        if (size !== null) await this.#orphan(place, txId, hasRow);
      } catch (error) {
        if (error instanceof Deno.errors.NotCapable) throw error;
        this.#tell({
          kind: "unreadable",
          txId,
          file: place,
          detail: (error as Error).message,
        });
      }
      await this.#pacer.giveWay();
    }
  }

  async #orphan(
    place: string,
    txId: string | null,
    isSuperseded: boolean,
  ): Promise<void> {
    const choice = this.#repair?.orphans ?? "keep";
    const finding = {
      kind: "orphan-payload" as const,
      txId,
      file: place,
      detail: isSuperseded
        ? "the payload of this transaction is elsewhere"
        : "a payload file that no row refers to",
    };
    if (!this.#repair || choice === "keep") return this.#tell(finding);
    const path = join(this.#report.base, place);
    if (choice === "adopt" && txId !== null && !isSuperseded) {
      const found = await this.#store.files.digest(txId);
      if (!found) return;
      if (this.#mayAct()) await this.#adopt(txId, path, found);
      this.#becomesSound(txId);
      return this.#tell({
        ...finding,
        found: found.digest,
        action: "adopted",
      });
    }
    if (choice === "adopt") return this.#tell(finding);
    if (this.#mayAct()) {
      const reason = finding.kind;
      await quarantineFile(this.#report.base, path, { txId, reason });
      crashPoint("orphan moved");
    }
    this.#tell({ ...finding, action: "quarantined" });
  }

  async #adopt(
    txId: string,
    path: string,
    found: { digest: string; size: number },
  ): Promise<void> {
    const { rows } = this.#store;
    await rows.change(() =>
      putRow(rows, {
        txId,
        holderId: "",
        timestamp: modifiedAt(path),
        storageHash: found.digest,
        size: found.size,
      })
    );
  }

  async #leftovers(step: Step): Promise<void> {
    const { files } = this.#store;
    // Beside a live writer they are files that it is writing.
    const isAlone = this.#mayAct() || listHolders(files.basePath).length === 0;
    if (!isAlone) return;
    const staged = await this.#stagedNames();
    for (const dir of [files.tmpPath, files.staged.path]) {
      for (const name of await namesIn(dir)) {
        step.add(1, 0);
        if (staged.has(name)) continue;
        const path = join(dir, name);
        // A change that the database has lost may have referred to it.
        const keep = this.#lost > 0 && dir === files.staged.path &&
          isFile(path);
        const isGone = keep || removeLeftover(path, !this.#mayAct());
        if (this.#mayAct() && keep) await this.#keepStaged(path);
        crashPoint("leftover removed");
        this.#leftover(path, isGone, keep);
      }
    }
    for (const name of await namesIn(files.holdersPath)) {
      const path = join(files.holdersPath, name);
      if (isFile(path)) continue; // of a process that has the store open
      this.#leftover(path, removeLeftover(path, !this.#mayAct()), false);
    }
  }

  #leftover(path: string, isGone: boolean, isKept: boolean): void {
    this.#tell({
      kind: "leftover-temp",
      file: relative(this.#report.base, path),
      detail: isGone
        ? "a half-written file that nothing refers to"
        : "a directory with something in it, which no store makes: it stays",
      action: !this.#repair || !isGone
        ? "none"
        : isKept
        ? "quarantined"
        : "removed",
    });
  }

  /** The names of staged files that rows, or changes in the log, refer to. */
  async #stagedNames(): Promise<Set<string>> {
    const { files, rows, log } = this.#store;
    const names = new Set<string>();
    for await (const { name } of waitingRows(files, rows)) names.add(name);
    if (hasLog(rows)) { for (const { name } of log.pending()) names.add(name); }
    return names;
  }

  async #keepStaged(path: string): Promise<void> {
    const reason = "metadata-outdated";
    await quarantineFile(this.#report.base, path, { txId: null, reason });
  }

  // --- help -------------------------------------------------------------------

  /** A repair, or what would be one, has put a transaction right. */
  #becomesSound(txId: string): void {
    this.#report.sound++;
    this.#options.onSound?.(txId);
  }

  #tell(finding: BriefFinding): void {
    tellFinding(this.#report, finding, this.#options.onFinding);
  }

  #fileOf(txId: string): string {
    try {
      return this.#store.files.find(txId) ?? placeOf(txId);
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      return placeOf(txId);
    }
  }
}

/** Whether a name is a regular file's, or nobody's by now. */
function isFile(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}

function modifiedAt(path: string): number {
  const { mtime } = Deno.statSync(path);
  return (mtime?.getTime() ?? 0) / 1000;
}
