/**
 * Whether rows, seals and tree of a store agree: `verify --tlog`.
 *
 * @module
 */

import { collectGarbage } from "../async/garbage.ts";
import { Pacer } from "../async/turn.ts";
import { PohStorageError } from "../errors.ts";
import type { TlogFinding } from "../model/tlog.ts";
import type { Checkpoint } from "../proofs/checkpoint.ts";
import { isEqual } from "../proofs/encoding.ts";
import { parseEntry } from "../proofs/entry.ts";
import { LogAudit } from "../proofs/log_audit.ts";
import { ProofError } from "../proofs/proof_error.ts";
import { entriesOf, TileBuilder } from "../proofs/tiles.ts";
import type { Database } from "../sqlite/database.ts";
import { findInfo } from "../sqlite/lookups.ts";
import { isUnderSeal } from "./seal.ts";
import { damaged, type Tlog } from "./tlog.ts";
import { liveEntries, strayIds } from "./tlog_tables.ts";

/**
 * Entries whose seals are held in memory at once, 8 MiB. Rows are gone through
 * once for each so many entries; tests have fewer.
 */
export const WINDOW = { entries: 2 ** 18 };

/** Entries, in whole bundles, after which what they leave is collected. */
const COLLECT_AFTER = 16_384;

/** A checkpoint that the log has to continue, and where it stands. */
export interface Kept extends Checkpoint {
  /** What it is, for people. */
  name: string;
}

/** Goes through all entries, and all rows. Changes nothing. */
export async function* checkTlog(
  rows: Database,
  tlog: Tlog,
  kept: readonly Kept[],
): AsyncGenerator<TlogFinding> {
  const pacer = new Pacer();
  let log: LogAudit;
  try {
    log = await auditTiles(tlog, pacer);
  } catch (error) {
    yield damage(messageOf(error));
    return;
  }
  for (const checkpoint of kept) {
    const why = await whyNotContinued(tlog, log.size, checkpoint);
    if (why !== null) yield damage(why);
  }
  const beyond = await tlog.pathBeyond(log.size);
  if (beyond !== null) {
    yield damage(
      `${beyond} is there, and the log has ${log.size} entries: the database is older than its log`,
    );
  }
  for (let from = 0; from < log.size; from += WINDOW.entries) {
    yield* checkLive(rows, tlog, log, from, pacer);
  }
  for (const txId of strayIds(rows, "unlogged")) {
    yield { kind: "unlogged", txId, details: "its row has no entry" };
    await pacer.giveWay();
  }
}

function damage(details: string): TlogFinding {
  return { kind: "damaged", txId: null, details };
}

/** What is wrong with the log, by the error that tells it. */
function messageOf(error: unknown): string {
  const isOfLog = error instanceof ProofError ||
    error instanceof PohStorageError;
  if (isOfLog) return error.message;
  throw error;
}

/** Why a log does not continue a checkpoint; null: it does. */
async function whyNotContinued(
  tlog: Tlog,
  size: number,
  kept: Kept,
): Promise<string | null> {
  const origin = tlog.origin();
  if (kept.origin !== origin) {
    return `${kept.name} is of the log ${kept.origin}, this is ${origin}`;
  }
  if (kept.size > size) {
    return `${kept.name} has ${kept.size} entries, the log ${size}: it was rolled back`;
  }
  if (kept.size === 0) return null;
  const root = await tlog.tree(size).root(kept.size);
  return isEqual(root, kept.root)
    ? null
    : `the first ${kept.size} entries are not those of ${kept.name}`;
}

/** Goes through all entries, and holds the tiles against them. */
async function auditTiles(tlog: Tlog, pacer: Pacer): Promise<LogAudit> {
  return await growTiles(tlog, pacer, async (path, bytes) => {
    const there = await tlog.full(path);
    if (there && isEqual(there, bytes)) return;
    throw damaged(`${path} is ${there ? "not over its entries" : "missing"}`);
  });
}

/**
 * Makes tiles anew from the bundles, once these have proven to be whole.
 *
 * @returns How many were missing or altered.
 * @throws {PohStorageError} `TLOG_DAMAGED`: the bundles are not whole.
 */
export async function rebuildTiles(tlog: Tlog): Promise<number> {
  const pacer = new Pacer();
  const isBundle = (path: string) => path.startsWith("tile/entries/");
  try {
    await growTiles(tlog, pacer, () => Promise.resolve());
  } catch (error) {
    if (error instanceof PohStorageError) throw error;
    throw damaged(messageOf(error));
  }
  let made = 0;
  await growTiles(tlog, pacer, async (path, bytes) => {
    if (isBundle(path)) return;
    const there = await tlog.full(path);
    if (there && isEqual(there, bytes)) return;
    await tlog.putTile(path, bytes);
    made++;
  });
  return made;
}

/** Goes through all entries, and grows the tree anew over them. */
async function growTiles(
  tlog: Tlog,
  pacer: Pacer,
  onFull: (path: string, bytes: Uint8Array) => Promise<void>,
): Promise<LogAudit> {
  const log = new LogAudit();
  let grown: [string, Uint8Array][] = [];
  const builder = new TileBuilder((path, bytes) => grown.push([path, bytes]));
  for await (const bundle of tlog.bundles()) {
    for (const bytes of entriesOf(bundle)) {
      log.add(bytes);
      builder.append(bytes);
    }
    for (const [path, bytes] of grown) await onFull(path, bytes);
    grown = [];
    if (log.size % COLLECT_AFTER === 0) collectGarbage();
    await pacer.giveWay();
  }
  const { size, tiles } = tlog.edge();
  const edge = builder.edge();
  const isSame = size === edge.size && tiles.length === edge.tiles.length &&
    tiles.every((tile, level) => isEqual(tile, edge.tiles[level]!));
  if (!isSame) throw damaged("its edge is not over its entries");
  if (log.begin?.origin !== tlog.origin()) throw damaged("it began otherwise");
  return log;
}

/** Holds the live entries from an index on against what is behind their seals. */
async function* checkLive(
  rows: Database,
  tlog: Tlog,
  log: LogAudit,
  from: number,
  pacer: Pacer,
): AsyncGenerator<TlogFinding> {
  const end = Math.min(log.size, from + WINDOW.entries);
  const seals = await sealsOf(tlog, log, from, end);
  const isSeen = new Uint8Array(end - from);
  let seen = 0;
  for (const page of liveEntries(rows, { from, end })) {
    if (++seen % 32 === 0) collectGarbage(); // 16,384 rows
    for (const live of page) {
      const { txId, entry } = live;
      const at = entry - from;
      const seal = seals.subarray(at * 32, at * 32 + 32);
      const isOne = log.isLive(entry) && !isSeen[at] &&
        isEqual(seal, live.seal);
      isSeen[at] = 1;
      const row = isOne ? findInfo(rows, txId) : null;
      if (!isOne) {
        yield damage(
          `entry ${entry} is not that of tx ${JSON.stringify(txId)}`,
        );
      } else if (!row) {
        const details = `entry ${entry} is live, its row is gone`;
        yield { kind: "vanished", txId, details };
      } else if (!isUnderSeal(row, live)) {
        const details = `its row is not what entry ${entry} has under its seal`;
        yield { kind: "altered", txId, details };
      }
    }
    await pacer.giveWay();
  }
  for (let at = 0; at < isSeen.length; at++) {
    if (!log.isLive(from + at) || isSeen[at]) continue;
    yield damage(`entry ${from + at} is live, and unknown`);
  }
}

/** The seals of live entries, 32 bytes for each entry. */
async function sealsOf(
  tlog: Tlog,
  log: LogAudit,
  from: number,
  end: number,
): Promise<Uint8Array> {
  const seals = new Uint8Array((end - from) * 32);
  for (let index = from; index < end;) {
    const bundle = await tlog.bundle(Math.floor(index / 256));
    for (const bytes of entriesOf(bundle).slice(index % 256)) {
      if (index === end) break;
      if (log.isLive(index)) {
        const entry = parseEntry(bytes);
        if (entry.kind === "put") seals.set(entry.seal, (index - from) * 32);
      }
      index++;
    }
  }
  return seals;
}
