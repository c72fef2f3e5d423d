/**
 * Changes of the log laid over the rows of a store that is open read-only.
 *
 * After a crash nobody has had the rows follow; and a writer that is alone makes
 * the rows of many saves at once, a few milliseconds after they have resolved.
 *
 * @module
 */

import type { Connection } from "./driver.ts";
import { exactQuotient } from "./selection.ts";
import type { TxInfo } from "../types.ts";

/** What is known of a change that no row has followed yet. */
export interface ChangeAhead {
  /** Of which id. */
  txId: string;
  /** Its row by then; null: a deletion. */
  row: TxInfo | null;
  /** Where in the log its payload is; null: in a file. */
  place: number | null;
}

/** What a log has that no row has followed yet. */
export interface ChangesAhead {
  /** Of each id the last one. */
  changes: Iterable<ChangeAhead>;
  /** Whether the log still had all of it. */
  isWhole: boolean;
}

/** The log of a store that is open read-only. */
export interface LogAhead {
  /** Up to where saves have resolved, as far as a live writer tells. */
  resolved(): number;
  /** The changes up to there that no row has followed yet. */
  changesAhead(until: number): ChangesAhead;
}

const COLUMNS = "tx_id, storage_hash, timestamp, holder_id, size, place";

/** What is laid over the rows of one connection. */
export class Overlay {
  readonly #connection: () => Connection;
  readonly #onChange: () => void;
  /** The state of the database over which changes are laid; null: none are. */
  #laid: { version: number; until: number } | null = null;
  #log: LogAhead | null = null;

  /**
   * Lays nothing yet.
   *
   * @param onChange Told when prepared statements would read another table.
   */
  constructor(connection: () => Connection, onChange: () => void) {
    this.#connection = connection;
    this.#onChange = onChange;
  }

  /** Whether changes are laid over the rows. */
  get isLaid(): boolean {
    return this.#laid !== null;
  }

  /** Whether there is a log to look at. */
  get hasLog(): boolean {
    return this.#log !== null;
  }

  /**
   * From now on `follow` also shows the saves that have resolved and have no row
   * yet. Only new ids: to replace or delete one a writer waits for the rows.
   */
  readAhead(log: LogAhead): void {
    this.#log = log;
  }

  /**
   * Lays changes over the rows, until somebody has had the rows follow. Within
   * the transaction in which it was seen what the rows lack.
   *
   * @param changes Of each id the last; a null row is a deletion.
   */
  lay(changes: Iterable<ChangeAhead>, until = Infinity): void {
    if (this.#laid !== null) this.#drop();
    const db = this.#connection();
    const version = dataVersion(db);
    db.exec(
      `CREATE TEMP TABLE changed (tx_id TEXT PRIMARY KEY, storage_hash TEXT,
      timestamp REAL, holder_id TEXT, size INTEGER, place INTEGER)`,
    );
    const insert = db.prepare(
      `INSERT INTO changed VALUES (?, ?, CAST(? AS REAL) / ?, ?, ?, ?)`,
    );
    for (const { txId, row, place } of changes) {
      insert.run(
        txId,
        row && row.storageHash,
        ...exactQuotient(row?.timestamp ?? 0),
        row && row.holderId,
        row && row.size,
        place,
      );
    }
    // Queries look rows up by rowid, which a view has not of itself; those of
    // changes are texts, as no row's is.
    db.exec(`CREATE TEMP VIEW txs AS SELECT rowid AS rowid, ${COLUMNS}
        FROM main.txs WHERE tx_id NOT IN (SELECT tx_id FROM changed)
      UNION ALL SELECT 'ahead ' || rowid AS rowid, ${COLUMNS}
        FROM changed WHERE storage_hash IS NOT NULL`);
    this.#onChange();
    this.#laid = { version, until };
  }

  /** Drops changes that the rows may have followed: the database has changed. */
  requireFresh(): void {
    if (this.#laid === null) return;
    if (dataVersion(this.#connection()) !== this.#laid.version) this.#drop();
  }

  /** Up to where saves have resolved, as far as a live writer tells. */
  resolved(): number {
    return this.#log?.resolved() ?? 0;
  }

  /**
   * Lays over the rows what they have not followed. Within a transaction that
   * shows them at one moment.
   *
   * @param resolved Up to where saves had resolved before that moment.
   * @param applied Up to where the rows have followed the log.
   * @param mustBeWhole Whether to lay nothing where the log has a part no more.
   * @returns False when nothing was laid for that: rows follow before a part of
   * the log goes, so that a later moment shows them.
   */
  follow(
    resolved: number,
    applied: () => number,
    mustBeWhole: boolean,
  ): boolean {
    if (resolved === 0) return true;
    this.requireFresh();
    if (resolved <= (this.#laid?.until ?? applied())) return true;
    const { changes, isWhole } = this.#log!.changesAhead(resolved);
    if (mustBeWhole && !isWhole) return false;
    this.lay(changes, resolved);
    return true;
  }

  #drop(): void {
    this.#laid = null;
    this.#onChange();
    this.#connection().exec("DROP VIEW temp.txs; DROP TABLE temp.changed");
  }
}

/** Another number once another connection has changed the database. */
export function dataVersion(db: Connection): number {
  return db.prepare("PRAGMA data_version").get()![0] as number;
}
