/**
 * The state of a service: recovery, then an open store, then its end.
 *
 * @module
 */

import type { Progress } from "../model/long_work.ts";
import {
  DiskFullError,
  IntegrityError,
  PohStorageError,
  StoreBusyError,
} from "../errors.ts";
import { countQuarantine } from "../payloads/quarantine.ts";
import { performRecovery } from "../recovery.ts";
import type { StoreReport } from "../model/report.ts";
import type { HoldingKey } from "../model/tlog.ts";
import { isRemote } from "../remote_url.ts";
import { StorageManager } from "../storage_manager.ts";
import type { StorageOptions } from "../model/storage_options.ts";
import { Budget, type Limits } from "./limits.ts";
import type { AccessLog, Fields, Level, Log } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Problem, problemOf, unavailable } from "./problem.ts";
import { diskSpace } from "./disk_space.ts";
import { Summaries } from "./summary.ts";

/** How many damaged transactions are remembered. */
const DAMAGED_KEPT = 20;

/** Refusals are told to the operator once in so long, in ms. */
const REJECTIONS_TOLD = 10_000;

/** How often it is tried to open a store for writing on a full disk, in ms. */
const REOPEN = 1_000;

/** How recovery went. */
export type Recovery =
  | { kind: "pending"; progress: Progress | null }
  | { kind: "done"; at: Date; report: StoreReport }
  | { kind: "skipped"; reason: string };

/** Private keys of a log, and the file beside which stands what they signed. */
export type LogKey = Pick<HoldingKey, "signers" | "keyPath">;

/** What a service is made from. */
export interface ServiceOptions {
  /** Payload folder. */
  base: string;
  /** Database. */
  db: string;
  /** How to open them. */
  storage: StorageOptions;
  /** Whether to make the store where there is none. */
  create: boolean;
  /** Whether to recover first. */
  recover: boolean;
  /** Its limits. */
  limits: Limits;
  /** Whether anybody may read checkpoints and tiles of the transparency log. */
  isLogPublic?: boolean;
  /** What signs answers to challenges; none unless given. */
  logKey?: LogKey;
  /** Told, in one line, what an operator should know. */
  notice: Log;
  /** Which requests are told as well; none unless given. */
  accessLog?: AccessLog;
  /** The version of the program, for the figures. */
  version?: string;
}

/** A store and all that the routes share. */
export class Service {
  /** Its limits. */
  readonly limits: Limits;
  /** Its figures. */
  readonly metrics: Metrics = new Metrics();
  /** Bytes of bodies in memory, and NDJSON bodies being read. */
  readonly room: { bytes: Budget; streams: Budget };
  /** Answers to challenges under way. */
  readonly holdings: Budget;
  /** Whether anybody may read checkpoints and tiles of the transparency log. */
  readonly isLogPublic: boolean;
  /** What signs answers to challenges. */
  readonly logKey: LogKey | null;
  /** Verifications under way. */
  readonly verifications: Budget;
  /** Requests under way. */
  requests = 0;
  /** Whether it refuses requests, as it is about to end. */
  refuses = false;
  /** How recovery went. */
  recovery: Recovery = { kind: "pending", progress: null };
  /** What a check that was asked for has found last; null: none was. */
  verified: { at: Date; report: StoreReport } | null = null;
  /** When the last backup was sent whole; null: none was. */
  backedUp: Date | null = null;
  /** The last transactions that a read found damaged, newest last. */
  readonly damaged: Set<string> = new Set();
  readonly #options: ServiceOptions;
  readonly #end = new AbortController();
  #isChecking = false;
  #store: StorageManager | null = null;
  #summaries: Summaries | null = null;
  /** Every store that was opened: the last one serves. */
  readonly #opened: StorageManager[] = [];
  /** Why the store could only be opened for reading, and when that was tried. */
  #full: { error: DiskFullError; at: number } | null = null;
  /** Requests refused since the operator was told, and when that was. */
  #overloads = 0;
  #overloadTold = -Infinity;
  /** What the operator was told last of changes that fail. */
  #obstacle: string | null = null;

  /** A service that is not ready yet. */
  constructor(options: ServiceOptions) {
    const { bodyBudget, streams, verifications } = options.limits;
    this.#options = options;
    this.limits = options.limits;
    this.room = { bytes: new Budget(bodyBudget), streams: new Budget(streams) };
    this.verifications = new Budget(verifications);
    this.holdings = new Budget(options.limits.holdings);
    this.isLogPublic = options.isLogPublic ?? false;
    this.logKey = options.logKey ?? null;
  }

  /** Where the store is, and how it is opened. */
  get place(): Pick<ServiceOptions, "base" | "db" | "storage"> {
    return this.#options;
  }

  /** Ends when the service begins to stop. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  /**
   * Takes the place of the one check that may be under way.
   *
   * @returns What gives it back.
   * @throws {Problem} 409 if there is one.
   */
  beginCheck(): () => void {
    if (this.#isChecking) {
      throw new Problem("CHECK_RUNNING", "A check is under way");
    }
    this.#isChecking = true;
    let ended = false;
    return () => {
      if (!ended) this.#isChecking = false;
      ended = true;
    };
  }

  /** Tells the operator something. */
  notice(line: string, level: Level = "info", fields: Fields = {}): void {
    this.#options.notice(line, level, fields);
  }

  /** Which requests are told to the operator. */
  get accessLog(): AccessLog {
    return this.#options.accessLog ?? "off";
  }

  /**
   * Recovers and opens the store. Where another process has it open there is
   * no recovery, as nothing could be repaired; the service starts all the same.
   *
   * @returns Whether it is ready: not when recovery was interrupted or found
   * the database itself damaged.
   */
  async start(signal: AbortSignal): Promise<boolean> {
    if (!this.#options.recover) {
      this.recovery = { kind: "skipped", reason: "as told" };
    } else if (!await this.#recover(signal)) return false;
    this.#use(await this.#open());
    return true;
  }

  /** Opens the store, on a full disk to be read. */
  async #open(): Promise<StorageManager> {
    const { base, db, storage, create } = this.#options;
    const open = create ? StorageManager.create : StorageManager.open;
    try {
      return await open(base, db, storage);
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      this.#full = { error, at: performance.now() };
      this.notice(`Starting for reading alone: ${error.message}`, "warn");
      return await StorageManager.open(base, db, {
        ...storage,
        readOnly: true,
      });
    }
  }

  #use(store: StorageManager): void {
    this.#opened.push(store);
    this.#summaries = new Summaries(
      store,
      this.#end.signal,
      (error) => this.failed("Cannot sum up the store", error),
    );
    this.#store = store;
  }

  /** Opens for writing what had to be opened for reading, once there is room. */
  async #openAgain(): Promise<DiskFullError | null> {
    const full = this.#full;
    if (!full || performance.now() - full.at < REOPEN) {
      return full?.error ?? null;
    }
    full.at = performance.now();
    const { base, db, storage } = this.#options;
    try {
      // Reads of the one before may be under way: it is closed at the end.
      this.#use(await StorageManager.open(base, db, storage));
      return this.#full = null;
    } catch (error) {
      if (!(error instanceof DiskFullError)) throw error;
      return full.error = error;
    }
  }

  async #recover(signal: AbortSignal): Promise<boolean> {
    const { base, db, storage, create } = this.#options;
    try {
      const report = await performRecovery(base, db, {
        ...storage,
        create,
        signal,
        onProgress: (progress) => this.recovery = { kind: "pending", progress },
      });
      this.recovery = { kind: "done", at: new Date(), report };
      return !report.interrupted && report.counts["metadata-damaged"] === 0;
    } catch (error) {
      const goesOn = error instanceof StoreBusyError ||
        error instanceof DiskFullError;
      if (!goesOn) throw error;
      this.recovery = { kind: "skipped", reason: error.message };
      this.notice(`Starting without recovery: ${error.message}`, "warn");
      return true;
    }
  }

  /** Whether transactions are served. */
  get ready(): boolean {
    return this.#store !== null && !this.stopping;
  }

  /**
   * Why transactions are not served as they should be: the service starts or
   * stops, or the store takes no changes. Null when all is well.
   */
  async whyNotReady(): Promise<Problem | null> {
    if (this.stopping) return stopping();
    if (!this.ready) return notReady(this.recovery);
    const error = this.#full
      ? await this.#openAgain()
      : await this.store.whyNotWritable();
    const code = error && problemOf(error).code;
    if (code !== this.#obstacle) {
      this.#obstacle = code;
      this.notice(
        error ? `Not ready: ${error.message}` : "Ready again",
        error ? "error" : "info",
        { code },
      );
    }
    if (!error) return null;
    return error instanceof StoreBusyError
      ? unavailable(
        "LOCK_STUCK",
        "Another process keeps the store locked: changes fail, reads go on",
      )
      : problemOf(error);
  }

  /** Whether the end has begun. */
  get stopping(): boolean {
    return this.#end.signal.aborted;
  }

  /**
   * The store.
   *
   * @throws {Problem} 503 before it is open.
   */
  get store(): StorageManager {
    if (this.#store) return this.#store;
    throw notReady(this.recovery);
  }

  /** Sums over the store; null before the first. */
  get summary(): Summaries["newest"] {
    return this.#summaries?.newest ?? null;
  }

  /** From now on requests are the last ones of their connections. */
  stop(): void {
    this.#end.abort();
  }

  /** From now on requests are refused. */
  refuse(): void {
    this.refuses = true;
  }

  /** Finishes what is in flight and closes the store. */
  async close(): Promise<void> {
    this.stop();
    await this.#summaries?.idle();
    const closed = await Promise.allSettled(
      this.#opened.map((store) => store.close()),
    );
    for (const result of closed) {
      if (result.status === "rejected") throw result.reason;
    }
  }

  /** The problem that an error is for a client. */
  problemOf(error: unknown): Problem {
    const isReadOnly = error instanceof PohStorageError &&
      error.code === "READ_ONLY";
    return problemOf(isReadOnly && this.#full ? this.#full.error : error);
  }

  /**
   * Keeps account of a request that got a problem. Where the service refuses for
   * want of room, the operator is told: at once, and then now and again.
   */
  rejected(code: string): void {
    this.metrics.rejected(code);
    if (code !== "OVERLOADED") return;
    this.#overloads++;
    const now = performance.now();
    if (now - this.#overloadTold < REJECTIONS_TOLD) return;
    this.#overloadTold = now;
    this.notice(
      `Overloaded: ${this.#overloads} requests refused, ${this.requests} under way, ${this.room.bytes.used} bytes of bodies in memory`,
      "warn",
      { refused: this.#overloads, requests: this.requests },
    );
    this.#overloads = 0;
  }

  /** Keeps account of an error and tells the operator of it. */
  failed(what: string, error: unknown, fields: Fields = {}): void {
    if (error instanceof IntegrityError) this.#damageFound(error);
    const reason = error instanceof Error ? error.message : String(error);
    const code = error instanceof PohStorageError ? error.code : null;
    this.notice(`${what}: ${reason}`, "error", { ...fields, code });
  }

  #damageFound({ txId }: IntegrityError): void {
    this.metrics.damaged();
    this.damaged.delete(txId);
    this.damaged.add(txId);
    for (const oldest of this.damaged) {
      if (this.damaged.size <= DAMAGED_KEPT) break;
      this.damaged.delete(oldest);
    }
  }

  /** All figures, for Prometheus. */
  async metricsText(): Promise<string> {
    const { recovery, verified } = this;
    const { base, db, version = "" } = this.#options;
    const isLocal = !isRemote(base, db);
    const driver = this.#store?.driver;
    return await this.metrics.text({
      ready: this.ready,
      bodyBytes: this.room.bytes.used,
      requests: this.requests,
      summary: this.summary,
      findings: recovery.kind === "done" ? recovery.report.counts : {},
      verifyFindings: verified?.report.counts ?? {},
      last: {
        recovery: recovery.kind === "done" ? recovery.at : null,
        verify: verified?.at ?? null,
        backup: this.backedUp,
      },
      quarantined: isLocal && this.#store ? await countQuarantine(base) : null,
      disk: isLocal ? await diskSpace(base) : null,
      build: {
        version,
        deno: Deno.version.deno,
        driver: driver?.name ?? "",
        library: driver?.library ?? "",
      },
    });
  }
}

/** The answer while the store is not open. */
function notReady({ kind }: Recovery): Problem {
  return unavailable(
    "NOT_READY",
    kind === "pending"
      ? "The store is being recovered"
      : "The store is being opened",
  );
}

/** The answer once the end has begun. */
export function stopping(): Problem {
  return unavailable("STOPPING", "The service stops");
}
