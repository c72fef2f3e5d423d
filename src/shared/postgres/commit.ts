/**
 * Commits, each made once however often it is sent.
 *
 * A connection that breaks between a commit and its answer leaves open whether
 * it was made, and one that was given up may yet deliver its statement long
 * after it was sent anew: a removal would then take away what was saved since.
 * So whoever commits has slots, rows of a table, one for each commit under way.
 * A commit is carried out only while its number is the next one of its slot,
 * and notes there what became of each change, in the same transaction. Sent
 * again it finds its number used, and the outcomes beside.
 *
 * All of a batch is one statement, one way to the server and back, if all are
 * puts, or all removals, of different ids. Else it is several statements in one
 * transaction, in each of which no id is twice: none of them changes a table
 * twice, which not every server does.
 *
 * @module
 */

import { InvalidTxError, PohStorageError } from "../../errors.ts";
import {
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  leaseLost,
} from "../contracts.ts";
import { validateTxHead } from "../../tx.ts";
import { isUnstorable } from "../../model/filter.ts";
import type { Connections, Run } from "./connections.ts";
import { plainKeyOrNull } from "./rows.ts";
import type { Tables } from "./schema.ts";

/** The server's clock, UNIX seconds. */
export const NOW = "extract(epoch FROM clock_timestamp())::float8";

/** Whether a statement fails where another has changed what it changes. */
const ISOLATED =
  "current_setting('transaction_isolation') IN ('repeatable read', 'serializable')";

/** The lease under which is repaired. */
export const REPAIR = "repair";

/** Holders' ids stand in an index with those of transactions; in bytes. */
const LONGEST_HOLDER = 2_048;

/** Where the commits of one after the other are numbered. */
interface Slot {
  id: string;
  /** The newest number that was sent. */
  seq: number;
}

/** A change, and its place in its batch. */
interface Numbered {
  n: number;
  change: CatalogChange;
}

const OUTCOMES: Record<string, CatalogOutcome> = {
  c: "created",
  p: "replaced",
  s: "same",
  d: "removed",
  u: "unchanged",
  l: "late",
  r: "retired",
};

/** Whether a change was made. */
const MADE = "outcome IN ('c', 'p', 's', 'd')";

/** Makes commits. */
export class Committer {
  readonly #db: Connections;
  readonly #tables: Tables;
  readonly #free: Slot[] = [];

  /** One of whoever has these connections. */
  constructor(db: Connections, tables: Tables) {
    this.#db = db;
    this.#tables = tables;
  }

  /** Makes changes; see `Catalog.commit`. */
  async commit(
    changes: CatalogChange[],
    token?: number,
  ): Promise<CatalogOutcome[]> {
    for (const change of changes) requireStorable(change);
    const results = changes.map((): CatalogOutcome => "unchanged");
    const rounds = roundsOf(changes);
    if (rounds.length === 0) return results;
    const slot = this.#free.pop() ?? { id: crypto.randomUUID(), seq: 0 };
    const before = slot.seq;
    slot.seq += rounds.length;
    let outcomes: string | null;
    do outcomes = await this.#send(slot, before, rounds, token); while (
      outcomes === null
    );
    // After a failure its number may be in use yet: the slot is given up.
    this.#free.push(slot);
    const places = rounds.flatMap(({ changes }) => changes);
    for (const [at, letter] of [...outcomes].entries()) {
      results[places[at]!.n] = OUTCOMES[letter]!;
    }
    return results;
  }

  /** Forgets the slots of this one. Those of one that died go with time. */
  async close(): Promise<void> {
    const ids = this.#free.splice(0).map(({ id }) => id);
    if (ids.length === 0) return;
    await this.#db.query(
      `DELETE FROM ${this.#tables.commits} WHERE slot = ANY($1::text[])`,
      [ids],
      { patience: 0 },
    );
  }

  /** Sends a commit, or finds that it was made; null when to send it again. */
  async #send(
    slot: Slot,
    before: number,
    rounds: Round[],
    token: number | undefined,
  ): Promise<string | null> {
    const sendRound = async (run: Run, at: number) => {
      const { action, changes } = rounds[at]!;
      const kind = { action, isFirst: at === 0, hasToken: token !== undefined };
      const [row] = await run(
        statement(this.#tables, kind),
        parameters(slot, changes, before + at, token),
        `commit ${Object.values(kind)}`,
      );
      return row ? row.outcomes as string : null;
    };
    const made = rounds.length === 1
      ? await this.#db.attempt((run) => sendRound(run, 0))
      : await this.#db.transaction(async (run) => {
        let outcomes = null;
        for (const at of rounds.keys()) {
          outcomes = await sendRound(run, at);
          if (outcomes === null) break;
        }
        return outcomes;
      });
    return made ?? await this.#whatWasMade(slot, before, token);
  }

  /** The outcomes that a slot has; null after it was made ready for a commit. */
  async #whatWasMade(
    slot: Slot,
    before: number,
    token: number | undefined,
  ): Promise<string | null> {
    const { commits, leases } = this.#tables;
    const [row] = await this.#db.query(
      `SELECT s.seq::float8, l.token::float8, ${ISOLATED} AS isolated
      FROM (SELECT 1) AS one
      LEFT JOIN ${commits} s ON s.slot = $1
      LEFT JOIN ${leases} l ON l.name = $2`,
      [slot.id, REPAIR],
    );
    const seq = row!.seq as number | null;
    if (seq === slot.seq) return await this.#settle(slot);
    if (token !== undefined && row!.token !== token) throw leaseLost();
    if (!row!.isolated) throw notIsolated();
    // A server that has forgotten commits, such as a standby that was behind:
    // what is numbered as this one was may be on its way.
    if (seq !== null && seq !== before) slot.id = crypto.randomUUID();
    await this.#db.query(
      `INSERT INTO ${commits} (slot, seq, outcomes, at)
      VALUES ($1, $2, '', ${NOW}) ON CONFLICT (slot) DO NOTHING`,
      [slot.id, before],
    );
    return null;
  }

  /**
   * The outcomes of a commit that was found made. Whoever died meanwhile need
   * not have waited for the standby that is to have it: this is a commit behind
   * it, and waits.
   */
  async #settle(slot: Slot): Promise<string | null> {
    const [row] = await this.#db.query(
      `UPDATE ${this.#tables.commits} SET at = ${NOW}
      WHERE slot = $1 AND seq = $2 RETURNING outcomes`,
      [slot.id, slot.seq],
    );
    return row ? row.outcomes as string : null;
  }
}

function notIsolated(): PohStorageError {
  return new PohStorageError(
    "DATABASE",
    "Cannot commit: what is set for a connection does not stay; a pooler must keep one for each session, as PgBouncer does with pool_mode=session",
  );
}

/** Changes that one statement makes. */
interface Round {
  action: "put" | "remove";
  changes: Numbered[];
}

/**
 * The changes in rounds of one kind, in each of which no id is twice. What an
 * id is to say after a round is what its next change begins with.
 */
function roundsOf(changes: CatalogChange[]): Round[] {
  const rounds: Round[] = [];
  const next = new Map<string, number>();
  for (const [n, change] of changes.entries()) {
    const txId = idOf(change);
    if (isUnstorable(txId)) continue; // there is no such row to remove
    const action = "put" in change ? "put" : "remove";
    let at = next.get(txId) ?? 0;
    while ((rounds[at]?.action ?? action) !== action) at++;
    (rounds[at] ??= { action, changes: [] }).changes.push({ n, change });
    next.set(txId, at + 1);
  }
  return rounds;
}

/** The statement that carries out one round, and gives all outcomes so far. */
function statement(
  { txs, retired, leases, commits }: Tables,
  { action, isFirst, hasToken }: {
    action: Round["action"];
    isFirst: boolean;
    hasToken: boolean;
  },
): string {
  // The rows that changes are about are locked in one order, so that two
  // batches wait for each other no longer than need be. What another commit
  // changes meanwhile makes this one fail, and be done again.
  return `
  WITH gate AS MATERIALIZED (
    SELECT seq FROM ${commits} WHERE slot = $1 AND seq = $2 AND ${ISOLATED}
    FOR UPDATE
  ), lease AS MATERIALIZED (
    ${
    hasToken
      ? `SELECT token FROM ${leases}
        WHERE name = '${REPAIR}' AND token = $17 FOR SHARE`
      : "SELECT 1"
  }
  ), change AS MATERIALIZED (
    SELECT * FROM unnest(
      $3::int4[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::text[],
      $9::int8[], $10::text[], $11::float8[], $12::text[], $13::float8[],
      $14::text[], $15::int8[], $16::text[]
    ) AS c (n, tx_id, plain, storage_hash, timestamp, holder_id, size, key,
      deadline, seen_hash, seen_timestamp, seen_holder, seen_size, seen_key)
    WHERE EXISTS (SELECT 1 FROM gate) AND EXISTS (SELECT 1 FROM lease)
  ), old AS MATERIALIZED (
    SELECT * FROM ${txs} WHERE tx_id = ANY($4::text[])
      AND EXISTS (SELECT 1 FROM gate) AND EXISTS (SELECT 1 FROM lease)
    ORDER BY tx_id FOR UPDATE
  ), taken AS MATERIALIZED (
    SELECT key FROM ${retired} WHERE key = ANY($10::text[])
  ), judged AS MATERIALIZED (
    SELECT c.*, CASE WHEN o.tx_id IS NOT NULL THEN coalesce(o.object_key, c.plain) END AS old_key,
      CASE
        WHEN c.seen_key IS NOT NULL AND (
          o.tx_id IS NULL OR coalesce(o.object_key, c.plain) <> c.seen_key OR
          o.storage_hash <> c.seen_hash OR o.timestamp <> c.seen_timestamp OR
          o.holder_id <> c.seen_holder OR o.size <> c.seen_size) THEN 'u'
        WHEN c.seen_key IS NULL AND c.seen_hash IS NOT NULL AND
          o.tx_id IS NOT NULL THEN 'u'
        WHEN c.key IS NULL AND o.tx_id IS NULL THEN 'u'
        WHEN c.deadline < ${NOW} THEN 'l'
        WHEN c.key IN (SELECT key FROM taken) THEN 'r'
        WHEN c.key IS NULL THEN 'd'
        WHEN o.tx_id IS NULL THEN 'c'
        WHEN o.storage_hash = c.storage_hash AND
          o.timestamp = c.timestamp AND o.holder_id = c.holder_id THEN 's'
        ELSE 'p'
      END AS outcome
    FROM change c LEFT JOIN old o ON o.tx_id = c.tx_id
  ), changed AS (
    ${
    action === "put"
      ? `INSERT INTO ${txs} (tx_id, storage_hash, timestamp, holder_id, size, object_key)
      SELECT tx_id, storage_hash, timestamp, holder_id, size,
        CASE WHEN key IS DISTINCT FROM plain THEN key END
      FROM judged WHERE ${MADE} ORDER BY tx_id
      ON CONFLICT (tx_id) DO UPDATE SET storage_hash = excluded.storage_hash,
        timestamp = excluded.timestamp, holder_id = excluded.holder_id,
        size = excluded.size, object_key = excluded.object_key`
      : `DELETE FROM ${txs}
      WHERE tx_id IN (SELECT tx_id FROM judged WHERE ${MADE})`
  }
  ), left_over AS (
    INSERT INTO ${retired} (key, deleted, at)
    SELECT old_key, FALSE, ${NOW} FROM judged
    WHERE ${MADE} AND old_key IS NOT NULL AND old_key IS DISTINCT FROM key
    ORDER BY old_key
    ON CONFLICT (key) DO UPDATE SET deleted = FALSE, at = excluded.at
  ), noted AS (
    UPDATE ${commits} SET seq = $2 + 1, at = ${NOW},
      outcomes = ${
    isFirst ? "" : "outcomes || "
  }coalesce((SELECT string_agg(outcome, '' ORDER BY n) FROM judged), '')
    WHERE slot = $1 AND EXISTS (SELECT 1 FROM gate) AND EXISTS (SELECT 1 FROM lease)
    RETURNING outcomes
  )
  SELECT outcomes FROM noted`;
}

/** The values of its parameters. */
function parameters(
  slot: Slot,
  round: Numbered[],
  at: number,
  token: number | undefined,
): unknown[] {
  const columns: unknown[][] = Array.from({ length: 14 }, () => []);
  for (const { n, change } of round) {
    const txId = idOf(change), plain = plainKeyOrNull(txId);
    const { info, key } = "put" in change ? change.put : NOTHING;
    const values = [
      n,
      txId,
      plain,
      info.storageHash,
      info.timestamp,
      info.holderId,
      info.size,
      key,
      change.deadline ?? null,
      ...seenColumns(txId, change.seen),
    ];
    for (const [column, value] of values.entries()) {
      columns[column]!.push(value);
    }
  }
  return [slot.id, at, ...columns, ...token === undefined ? [] : [token]];
}

/** What a removal has in the columns of a put. */
const NOTHING = {
  info: { storageHash: null, timestamp: null, holderId: null, size: null },
  key: null,
};

/** A row as seen; one that no row can be has a key that none has. */
function seenColumns(txId: string, seen?: CatalogEntry | null): unknown[] {
  // No key, and yet a digest: no row is to be there.
  if (seen === null) return ["", 0, "", 0, null];
  if (!seen) return [null, null, null, null, null];
  const { info, key } = seen;
  const canBe = info.txId === txId && Number.isSafeInteger(info.size) &&
    ![info.storageHash, info.holderId, key].some(isUnstorable);
  if (!canBe) return ["", 0, "", 0, ""];
  return [info.storageHash, info.timestamp, info.holderId, info.size, key];
}

function idOf(change: CatalogChange): string {
  return "put" in change ? change.put.info.txId : change.remove;
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** @throws {InvalidTxError} If a row cannot say what it is to say. */
function requireStorable(change: CatalogChange): void {
  if (!("put" in change)) return;
  const { info, key } = change.put;
  validateTxHead(info);
  if (!Number.isSafeInteger(info.size) || info.size < -1) {
    throw new RangeError(`A size must be a whole number, got ${info.size}`);
  }
  if (byteLength(info.holderId) > LONGEST_HOLDER) {
    throw new InvalidTxError(
      "holder_id",
      `holder_id of tx ${
        JSON.stringify(info.txId)
      } is longer than the ${LONGEST_HOLDER} bytes that the database can index`,
    );
  }
  if (Number.isNaN(change.deadline)) {
    throw new RangeError("A deadline must be a number of seconds");
  }
  for (const text of [info.storageHash, key]) {
    if (!isUnstorable(text)) continue;
    throw new InvalidTxError(
      "",
      "A digest or key has text that cannot be kept",
    );
  }
}
