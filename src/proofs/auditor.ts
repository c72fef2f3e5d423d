/**
 * Audits a log again and again: each time only what is new, against all that was
 * seen before.
 *
 * @module
 */

import { type Checkpoint, parseCheckpoint } from "./checkpoint.ts";
import { boundedText, fromBase64, isEqual, toBase64 } from "./encoding.ts";
import { LogAudit } from "./log_audit.ts";
import { openNote, parseNote } from "./note.ts";
import {
  openCheckpoint,
  type Policy,
  type SignedCheckpoint,
} from "./policy.ts";
import { malformed, ProofError, type ProofErrorCode } from "./proof_error.ts";
import { entriesOf, TILE_WIDTH } from "./tiles.ts";

/** A log as everybody may read it. */
export interface PublicLog {
  /** The newest checkpoint, a signed note. */
  checkpoint(): Promise<string>;
  /** A bundle: at least its first `width` entries. */
  bundle(index: number, width: number): Promise<Uint8Array>;
}

/** What an audit came to. */
export interface AuditReport {
  /** What had been audited before; null: nothing. */
  readonly old: Checkpoint | null;
  /** What is audited now. */
  readonly checkpoint: SignedCheckpoint;
  /** How many of its entries are live. */
  readonly live: number;
}

/** Something that a log must never do, and what shows it. */
export interface Misbehaviour {
  /** What it is. */
  readonly code: ProofErrorCode;
  /** The same in words. */
  readonly message: string;
  /** The checkpoints that show it: signed notes, the older one first. */
  readonly checkpoints: readonly string[];
}

/** Notes of an auditor take at most so many findings. */
const MAX_MISBEHAVIOUR = 100;

/**
 * Audits a log. It keeps a bit for each entry, and downloads each entry once.
 *
 * @example Usage
 * ```ts
 * import {
 *   Auditor,
 *   encodeEntry,
 *   formatCheckpoint,
 *   generateKey,
 *   policyOf,
 *   signerOf,
 *   signNote,
 *   TileBuilder,
 * } from "@poh/storage/proofs";
 * import { assertEquals } from "@std/assert";
 *
 * const origin = "node7.example/poh";
 * const { privateKey, vkey } = await generateKey(origin);
 * const tree = new TileBuilder(() => {});
 * tree.append(encodeEntry({ kind: "begin", storeId: "7", origin, predecessor: null }));
 * const checkpoint = await signNote(
 *   formatCheckpoint({ origin, size: tree.size, root: tree.root() }),
 *   [await signerOf(privateKey)],
 * );
 *
 * const log = {
 *   checkpoint: () => Promise.resolve(checkpoint),
 *   bundle: () => Promise.resolve(tree.edge().bundle),
 * };
 * const auditor = new Auditor(policyOf(vkey));
 * assertEquals((await auditor.update(log)).checkpoint.size, 1);
 * const later = new Auditor(policyOf(vkey), auditor.toJSON());
 * assertEquals((await later.update(log)).old?.size, 1);
 * ```
 */
export class Auditor {
  readonly #policy: Policy;
  #seen: { note: string; checkpoint: Checkpoint; log: LogAudit } | null = null;
  readonly #misbehaviour: Misbehaviour[] = [];

  /**
   * Begins with nothing, or where another one was.
   *
   * @param state What {@linkcode toJSON} gave, also read from JSON.
   */
  constructor(policy: Policy, state?: unknown) {
    this.#policy = policy;
    if (state === undefined) return;
    const {
      v,
      checkpoint,
      size,
      live,
      subtrees,
      begin,
      misbehaviour,
      ...more
    } = objectOf(state);
    const isKnown = v === 1 && Object.keys(more).length === 0 &&
      Array.isArray(misbehaviour) && misbehaviour.every(isMisbehaviour);
    if (!isKnown) throw odd();
    this.#misbehaviour.push(...misbehaviour);
    if (checkpoint === null) return;
    if (!Array.isArray(subtrees)) throw odd();
    const log = new LogAudit({
      size: size as number,
      live: bytesOf(live),
      subtrees: subtrees.map(bytesOf),
      begin: bytesOf(begin),
    });
    const note = boundedText(textIn(checkpoint), "state");
    const seen = parseCheckpoint(parseNote(note).text);
    log.demand(seen);
    this.#seen = { note, checkpoint: seen, log };
  }

  /** What it takes to go on later, as JSON has it. */
  toJSON(): Record<string, unknown> {
    const { note = null, log } = this.#seen ?? {};
    const state = log?.state();
    return {
      v: 1,
      checkpoint: note,
      ...(state && {
        size: state.size,
        live: toBase64(state.live),
        subtrees: state.subtrees.map((hash) => toBase64(hash)),
        begin: toBase64(state.begin),
      }),
      misbehaviour: this.#misbehaviour,
    };
  }

  /** What the log must not have done, the first 100 things. */
  get misbehaviour(): readonly Misbehaviour[] {
    return this.#misbehaviour;
  }

  /** The entries so far; null: none yet. */
  get log(): LogAudit | null {
    return this.#seen?.log ?? null;
  }

  /**
   * Brings the audit up to the newest checkpoint of a log.
   *
   * @param acceptRestart Whether to go on with a log that begins anew.
   * @throws {ProofError} As `openCheckpoint` and `LogAudit`; `TLOG_FORKED`,
   * `TLOG_ROLLED_BACK` or `TLOG_RESTARTED`, which {@linkcode misbehaviour} keeps.
   */
  async update(
    from: PublicLog,
    { acceptRestart = false, signal }: {
      acceptRestart?: boolean;
      signal?: AbortSignal;
    } = {},
  ): Promise<AuditReport> {
    const checkpoint = await openCheckpoint(
      await from.checkpoint(),
      this.#policy,
    );
    const seen = this.#seen;
    const log = await this.#next(from, checkpoint, signal);
    if (log) {
      this.#keep(checkpoint, log);
    } else {
      const other = await this.#other(from, checkpoint, signal);
      const misbehaviour = await this.#judge(seen!, checkpoint, other);
      if (this.#misbehaviour.length < MAX_MISBEHAVIOUR) {
        this.#misbehaviour.push(misbehaviour);
      }
      const { code, message } = misbehaviour;
      if (!other || code !== "TLOG_RESTARTED" || !acceptRestart) {
        throw new ProofError(code, "consistency", message);
      }
      this.#keep(checkpoint, other);
    }
    const old = seen?.checkpoint ?? null;
    return { old, checkpoint, live: this.#seen!.log.liveCount };
  }

  #keep(checkpoint: SignedCheckpoint, log: LogAudit): void {
    this.#seen = { note: checkpoint.note, checkpoint, log };
  }

  /** The audit with what is new; null where that does not continue what was seen. */
  async #next(
    from: PublicLog,
    checkpoint: SignedCheckpoint,
    signal: AbortSignal | undefined,
  ): Promise<LogAudit | null> {
    const seen = this.#seen;
    if (!seen) return await whole(from, checkpoint, signal);
    const { origin, size, root } = seen.checkpoint;
    if (checkpoint.origin !== origin || checkpoint.size < size) return null;
    if (checkpoint.size === size) {
      return isEqual(checkpoint.root, root) ? seen.log : null;
    }
    const log = new LogAudit(seen.log.state()!);
    try {
      await take(log, from, checkpoint.size, signal);
      log.demand(checkpoint);
      return log;
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      return null;
    }
  }

  /**
   * The entries of a log that does not continue what was seen; null where they are
   * not those of its checkpoint, which shows two histories without them.
   */
  async #other(
    from: PublicLog,
    checkpoint: SignedCheckpoint,
    signal: AbortSignal | undefined,
  ): Promise<LogAudit | null> {
    const { origin, size } = this.#seen!.checkpoint;
    try {
      return await whole(from, checkpoint, signal);
    } catch (error) {
      const isShown = error instanceof ProofError &&
        checkpoint.origin === origin && checkpoint.size === size;
      if (isShown) return null;
      throw error;
    }
  }

  /** What it is that a log does not continue what was seen. */
  async #judge(
    seen: { note: string; checkpoint: Checkpoint; log: LogAudit },
    checkpoint: SignedCheckpoint,
    other: LogAudit | null,
  ): Promise<Misbehaviour> {
    const checkpoints = [seen.note, checkpoint.note];
    const { size } = seen.checkpoint;
    if (other && await this.#isNamed(seen.checkpoint, other)) {
      const carried = other.carriedOver;
      return {
        code: "TLOG_RESTARTED",
        message:
          `The log begins anew with ${checkpoint.size} entries; of ${seen.log.liveCount} transactions that were live in the one of ${size}, ${carried} were carried over`,
        checkpoints,
      };
    }
    const isShorter = checkpoint.size < size;
    return {
      code: isShorter ? "TLOG_ROLLED_BACK" : "TLOG_FORKED",
      message: isShorter
        ? `The log has ${checkpoint.size} entries, and has signed ${size} before`
        : `The log of ${checkpoint.size} entries does not continue the one of ${size} that it has signed before`,
      checkpoints,
    };
  }

  /** Whether a log names what was seen, or what came after, as its predecessor. */
  async #isNamed(seen: Checkpoint, other: LogAudit): Promise<boolean> {
    const predecessor = other.begin?.predecessor ?? null;
    if (predecessor === null) return false;
    try {
      const { text } = await openNote(predecessor, this.#policy.logs);
      const named = parseCheckpoint(text);
      if (named.origin !== seen.origin || named.size < seen.size) return false;
      return named.size > seen.size || isEqual(named.root, seen.root);
    } catch (error) {
      if (error instanceof ProofError) return false;
      throw error;
    }
  }
}

/** All entries of a log, which have the root of its checkpoint. */
async function whole(
  from: PublicLog,
  checkpoint: SignedCheckpoint,
  signal: AbortSignal | undefined,
): Promise<LogAudit> {
  const log = new LogAudit();
  await take(log, from, checkpoint.size, signal);
  log.demand(checkpoint);
  return log;
}

/** Takes the entries up to a size. */
async function take(
  log: LogAudit,
  from: PublicLog,
  size: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  while (log.size < size) {
    signal?.throwIfAborted();
    const index = Math.floor(log.size / TILE_WIDTH);
    const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
    const entries = entriesOf(await from.bundle(index, width));
    if (entries.length < width) {
      throw malformed(
        "bundle",
        `Bundle ${index} has ${entries.length} entries, not ${width}`,
      );
    }
    for (const entry of entries.slice(log.size % TILE_WIDTH, width)) {
      log.add(entry);
    }
  }
}

function odd(): ProofError {
  return malformed("state", "The state of an audit is malformed");
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw odd();
  return value as Record<string, unknown>;
}

function textIn(value: unknown): string {
  if (typeof value === "string") return value;
  throw odd();
}

function bytesOf(value: unknown): Uint8Array {
  return fromBase64(textIn(value), "state");
}

function isMisbehaviour(value: unknown): value is Misbehaviour {
  const { code, message, checkpoints } = objectOf(value);
  return typeof code === "string" && typeof message === "string" &&
    Array.isArray(checkpoints) &&
    checkpoints.every((note) => typeof note === "string");
}
