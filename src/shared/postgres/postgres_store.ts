/**
 * Metadata in PostgreSQL, for any number of machines.
 *
 * Nothing here needs more than one connection at a time, or a state that a
 * connection keeps: it may break at any moment.
 *
 * @module
 */

import { StoreNotFoundError } from "../../errors.ts";
import { isUnstorable } from "../../model/filter.ts";
import {
  type Catalog,
  type CatalogChange,
  type CatalogEntry,
  type CatalogOutcome,
  GRACE,
  type HolderCounts,
  type Lease,
  leaseLost,
  type RetiredKey,
} from "../contracts.ts";
import { saveRow } from "../entry.ts";
import { plainKey, txIdOfKey } from "../object_key.ts";
import type { ResolvedQuery } from "../../sqlite/selection.ts";
import { cursorGone, rowLimit } from "../../sqlite/tx_query.ts";
import type { StoreTotals, TxFilter, TxInfo, TxQuery } from "../../types.ts";
import { Committer, NOW, REPAIR } from "./commit.ts";
import {
  type ConnectionLimits,
  Connections,
  type Kind,
  type Row,
} from "./connections.ts";
import { takeLease } from "./lease.ts";
import { conditionsOf, orderOf } from "./query.ts";
import { COLUMNS, plainKeyOrNull, toEntry, toInfo } from "./rows.ts";
import {
  migrate,
  schemaVersion,
  type Tables,
  tablesOf,
  WRITE_ONCE,
} from "./schema.ts";
import { type Target, targetOf } from "./target.ts";

/** Rows fetched at a time by what goes through all of them. */
const PAGE = 1_000;

/** Rows deleted at a time. */
const DELETED_AT_ONCE = 10_000;

/** How long the right to repair lasts unless it is renewed, in seconds. */
const LEASE = 30;

/** Tables up to so many rows are read as a whole to find boundaries. */
const SMALL_TABLE = 50_000;

/** Rows looked at for each range, and for all, in larger ones. */
const SAMPLE_PER_RANGE = 5_000;
const LARGEST_SAMPLE = 500_000;

const SCAN: Kind = { scan: true };

/** Options of {@linkcode PostgresStore.open}. */
export interface PostgresStoreOptions extends ConnectionLimits {
  /** Makes and changes no tables; default false. */
  readOnly?: boolean;
  /** Whether to make the tables where there are none; default true. */
  create?: boolean;
  /** Whether a store that is made here is write-once; default false. */
  writeOnce?: boolean;
  /** How long the right to repair lasts unless renewed, in seconds; 30. */
  leaseSeconds?: number;
}

/**
 * Keeps the facts about transactions in a PostgreSQL database, which any number
 * of machines may share.
 *
 * Needs `--allow-net` for the host and port of the server, and nothing else;
 * with `--allow-env=PGPASSWORD,PGPASSFILE,HOME` the password may stand there,
 * with `--allow-read` in `~/.pgpass`, and certificates in files. Deno asks for `USER` and
 * `NODE_PG_FORCE_NATIVE` when the driver is loaded, unless `--no-prompt` is
 * given; it does without them.
 */
export class PostgresStore implements Catalog, AsyncDisposable {
  readonly #target: Target;
  readonly #db: Connections;
  readonly #tables: Tables;
  readonly #committer: Committer;
  readonly #readOnly: boolean;
  readonly #create: boolean;
  readonly #writeOnce: boolean;
  readonly #leaseSeconds: number;

  private constructor(target: Target, options: PostgresStoreOptions) {
    this.#target = target;
    this.#db = new Connections(target, options);
    this.#tables = tablesOf(target.schema);
    this.#committer = new Committer(this.#db, this.#tables);
    this.#readOnly = options.readOnly ?? false;
    this.#create = options.create ?? true;
    this.#writeOnce = options.writeOnce ?? false;
    this.#leaseSeconds = options.leaseSeconds ?? LEASE;
  }

  /**
   * A store at `postgres://user@host:port/database?schema=poh`. Connects when
   * first used. Before the first use, call `init`.
   *
   * @throws {PohStorageError} `INVALID_URL`.
   */
  static open(url: string, options: PostgresStoreOptions = {}): PostgresStore {
    return new PostgresStore(targetOf(url), options);
  }

  /** {@inheritDoc Catalog.url} */
  get url(): string {
    return this.#target.url;
  }

  /**
   * Makes the tables, or brings them to the newest version; harmless when they
   * are.
   *
   * @throws {StoreNotFoundError} If there is no store and none may be made.
   */
  async init(): Promise<void> {
    if (this.#readOnly || !this.#create) {
      const version = await schemaVersion(this.#db, this.#target);
      if (!version) throw new StoreNotFoundError(this.url);
    }
    if (this.#readOnly) return;
    await migrate(this.#db, this.#target, this.#writeOnce);
  }

  /** The version of the server, as it says itself. */
  async serverVersion(): Promise<string> {
    const [row] = await this.#db.query("SELECT version()");
    return row!.version as string;
  }

  // --- MetadataStore --------------------------------------------------------

  /** {@inheritDoc MetadataStore.save} The row goes on naming its object. */
  save(info: TxInfo): Promise<void> {
    return saveRow(this, info);
  }

  /** {@inheritDoc MetadataStore.load} */
  async load(txId: string): Promise<TxInfo | null> {
    const [found] = await this.find([txId]);
    return found?.info ?? null;
  }

  /** {@inheritDoc MetadataStore.remove} */
  async remove(txId: string): Promise<boolean> {
    const [outcome] = await this.commit([{ remove: txId }]);
    return outcome === "removed";
  }

  /** {@inheritDoc MetadataStore.listIds} */
  async listIds(): Promise<string[]> {
    return await Array.fromAsync(this.iterate(), ({ txId }) => txId);
  }

  /** {@inheritDoc Catalog.iterate} */
  async *iterate(query: TxQuery = {}): AsyncIterableIterator<TxInfo> {
    for await (const page of this.#pages(query)) yield* page.map(toInfo);
  }

  /** {@inheritDoc Catalog.count} */
  async count({ after, limit, ...filter }: TxFilter = {}): Promise<number> {
    const { text, values } = conditionsOf({
      ...filter,
      ...after !== undefined && { after: { txId: after, timestamp: 0 } },
    });
    const { txs } = this.#tables;
    const most = rowLimit(limit);
    const rows = most === Infinity
      ? `${txs} ${text}`
      : `(SELECT 1 FROM ${txs} ${text} LIMIT $${
        values.push(most)
      }::int8) AS chosen`;
    const [row] = await this.#db.query(
      `SELECT count(*)::float8 AS n FROM ${rows}`,
      values,
      SCAN,
    );
    return row!.n as number;
  }

  /** {@inheritDoc MetadataStore.close} */
  async close(): Promise<void> {
    // Whether it succeeds or not, others clean up after a grace.
    await this.#committer.close().catch(() => {});
    await this.#db.close();
  }

  /** Closes the store. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // --- Catalog --------------------------------------------------------------

  /** {@inheritDoc Catalog.commit} */
  commit(
    changes: CatalogChange[],
    token?: number,
  ): Promise<CatalogOutcome[]> {
    return this.#committer.commit(changes, token);
  }

  /** {@inheritDoc Catalog.find} */
  async find(txIds: string[]): Promise<(CatalogEntry | null)[]> {
    const ids = [...new Set(txIds)].filter((txId) => !isUnstorable(txId));
    if (ids.length === 0) return txIds.map(() => null);
    const rows = await this.#db.query(
      `SELECT ${COLUMNS} FROM ${this.#tables.txs} WHERE tx_id = ANY($1::text[])`,
      [ids],
    );
    const found = new Map(rows.map((row) => [row.tx_id, toEntry(row)]));
    return txIds.map((txId) => found.get(txId) ?? null);
  }

  /** {@inheritDoc Catalog.entries} */
  async *entries(query: TxQuery = {}): AsyncIterableIterator<CatalogEntry> {
    for await (const page of this.#pages(query)) yield* page.map(toEntry);
  }

  /** {@inheritDoc Catalog.named} */
  async named(keys: string[]): Promise<Set<string>> {
    const storable = keys.filter((key) => !isUnstorable(key));
    if (storable.length === 0) return new Set();
    const ids = storable.map(txIdOfPlainKey);
    const { txs } = this.#tables;
    const rows = await this.#db.query(
      `SELECT object_key AS key, NULL AS tx_id FROM ${txs}
        WHERE object_key = ANY($1::text[])
      UNION ALL SELECT NULL, tx_id FROM ${txs}
        WHERE tx_id = ANY($2::text[]) AND object_key IS NULL`,
      [storable, ids],
    );
    return new Set(
      rows.map(({ key, tx_id }) =>
        key as string | null ?? plainKey(tx_id as string)
      ),
    );
  }

  /** {@inheritDoc Catalog.retired} */
  async retired(limit: number): Promise<RetiredKey[]> {
    const rows = await this.#db.query(
      `SELECT key, deleted FROM ${this.#tables.retired}
      ORDER BY deleted, at, key LIMIT $1`,
      [limit],
    );
    return rows as unknown as RetiredKey[];
  }

  /**
   * {@inheritDoc Catalog.noteDeleted} A key that was not retired is so from now
   * on: an object that nothing named may have had it.
   */
  async noteDeleted(keys: string[]): Promise<void> {
    if (keys.length === 0) return;
    await this.#db.query(
      `INSERT INTO ${this.#tables.retired} (key, deleted, at)
      SELECT DISTINCT key, TRUE, ${NOW} FROM unnest($1::text[]) AS k (key)
      ORDER BY key
      ON CONFLICT (key) DO UPDATE SET deleted = TRUE, at = excluded.at`,
      [keys],
    );
  }

  /** {@inheritDoc Catalog.retire} */
  async retire(keys: string[], token?: number): Promise<Set<string>> {
    if (keys.length === 0) return new Set();
    const { txs, retired, leases } = this.#tables;
    const rows = await this.#db.transaction(async (run) => {
      if (token !== undefined) {
        const [lease] = await run(
          `SELECT token::float8 FROM ${leases} WHERE name = $1 FOR SHARE`,
          [REPAIR],
        );
        if (lease?.token !== token) throw leaseLost();
      }
      return await run(
        `INSERT INTO ${retired} (key, deleted, at)
        SELECT DISTINCT key, FALSE, ${NOW}
        FROM unnest($1::text[], $2::text[]) AS k (key, tx_id)
        WHERE NOT EXISTS (SELECT 1 FROM ${txs} t WHERE t.object_key = k.key)
          AND NOT EXISTS (SELECT 1 FROM ${txs} t
            WHERE t.tx_id = k.tx_id AND t.object_key IS NULL)
        ORDER BY key
        ON CONFLICT (key) DO UPDATE SET deleted = FALSE, at = excluded.at
        RETURNING key`,
        [keys, keys.map(txIdOfPlainKey)],
      );
    });
    return new Set(rows.map(({ key }) => key as string));
  }

  /** {@inheritDoc Catalog.retiredOf} */
  async retiredOf(keys: string[]): Promise<Set<string>> {
    const rows = await this.#db.query(
      `SELECT key FROM ${this.#tables.retired} WHERE key = ANY($1::text[])`,
      [keys.filter((key) => !isUnstorable(key))],
    );
    return new Set(rows.map(({ key }) => key as string));
  }

  /** {@inheritDoc Catalog.id} */
  async id(): Promise<string> {
    const [row] = await this.#db.query(
      `SELECT value FROM ${this.#tables.meta} WHERE name = 'id'`,
    );
    return row!.value as string;
  }

  /** {@inheritDoc Catalog.isWriteOnce} */
  async isWriteOnce(): Promise<boolean> {
    const rows = await this.#db.query(
      `SELECT 1 FROM ${this.#tables.meta} WHERE name = '${WRITE_ONCE}'`,
    );
    return rows.length > 0;
  }

  /** {@inheritDoc Catalog.holders} */
  async holders(limit: number): Promise<HolderCounts> {
    const rows = await this.#db.query(
      `SELECT holder_id, count(*)::float8 AS n,
        (count(*) OVER ())::float8 AS holders
      FROM ${this.#tables.txs} GROUP BY holder_id
      ORDER BY n DESC, holder_id LIMIT $1`,
      [limit],
      SCAN,
    );
    return {
      count: rows[0]?.holders as number | undefined ?? 0,
      top: rows.map(({ holder_id, n }) => ({
        holderId: holder_id as string,
        txs: n as number,
      })),
    };
  }

  /** {@inheritDoc Catalog.forgetRetired} */
  async forgetRetired(): Promise<number> {
    const { retired, commits } = this.#tables;
    // Of those who have died, or do nothing: they take new ones.
    await this.#db.query(
      `DELETE FROM ${commits} WHERE at < (SELECT ${NOW}) - $1::float8`,
      [GRACE],
    );
    for (let forgotten = 0;;) {
      const rows = await this.#db.query(
        `DELETE FROM ${retired} WHERE key IN (
          SELECT key FROM ${retired} WHERE deleted AND at < (SELECT ${NOW}) - $1::float8
          ORDER BY at LIMIT ${DELETED_AT_ONCE})
        RETURNING 1 AS gone`,
        [GRACE],
      );
      forgotten += rows.length;
      if (rows.length < DELETED_AT_ONCE) return forgotten;
    }
  }

  /** {@inheritDoc Catalog.now} */
  async now(): Promise<number> {
    const [row] = await this.#db.query(`SELECT ${NOW} AS now`);
    return row!.now as number;
  }

  /** {@inheritDoc Catalog.totals} */
  async totals(): Promise<StoreTotals> {
    const [row] = await this.#db.query(
      `SELECT coalesce(sum(size) FILTER (WHERE size > 0), 0)::float8 AS bytes,
        count(*) FILTER (WHERE size < 0)::float8 AS unknown,
        min(timestamp) AS oldest, max(timestamp) AS newest
      FROM ${this.#tables.txs}`,
      [],
      SCAN,
    );
    const { bytes, unknown, oldest, newest } = row as Record<string, number>;
    return {
      bytes: bytes!,
      unknownSizes: unknown!,
      oldest: oldest!,
      newest: newest!,
    };
  }

  /** {@inheritDoc Catalog.iterateByHolder} */
  async *iterateByHolder(): AsyncIterableIterator<TxInfo> {
    for (let last: TxInfo | null = null;;) {
      const rows: Row[] = await this.#db.query(
        `SELECT ${COLUMNS} FROM ${this.#tables.txs} ${
          last
            ? "WHERE (holder_id, timestamp, tx_id) > ($1::text, $2::float8, $3::text)"
            : ""
        } ORDER BY holder_id, timestamp, tx_id LIMIT ${PAGE}`,
        last ? [last.holderId, last.timestamp, last.txId] : [],
        SCAN,
      );
      yield* rows.map(toInfo);
      if (rows.length < PAGE) return;
      last = toInfo(rows.at(-1)!);
    }
  }

  /**
   * {@inheritDoc Catalog.boundaries} In a large table by a sample of its pages:
   * each id is the last of its range.
   */
  async boundaries(ranges: number): Promise<string[]> {
    if (ranges < 2) return [];
    const share = await this.#sampleShare(ranges);
    const [row] = await this.#db.query(
      `SELECT percentile_disc($1::float8[]) WITHIN GROUP (ORDER BY tx_id) AS ids
      FROM ${this.#tables.txs} ${
        share < 1 ? `TABLESAMPLE SYSTEM (${100 * share})` : ""
      }`,
      [Array.from({ length: ranges - 1 }, (_, n) => (n + 1) / ranges)],
      SCAN,
    );
    return [...new Set(row!.ids as string[] | null ?? [])];
  }

  /** {@inheritDoc Catalog.lease} */
  lease(): Promise<Lease> {
    return takeLease(this.#db, this.#tables, this.#leaseSeconds, this.url);
  }

  /** How much of the table is looked at to cut it into ranges. */
  async #sampleShare(ranges: number): Promise<number> {
    const [row] = await this.#db.query(
      "SELECT reltuples::float8 AS rows FROM pg_class WHERE oid = $1::text::regclass",
      [this.#tables.txs],
    );
    const rows = row!.rows as number;
    const sample = Math.min(ranges * SAMPLE_PER_RANGE, LARGEST_SAMPLE);
    return rows > SMALL_TABLE ? Math.min(sample / rows, 1) : 1;
  }

  async *#pages(query: TxQuery): AsyncIterableIterator<Row[]> {
    let left = rowLimit(query.limit);
    let next = await this.#resolve(query);
    while (left > 0) {
      const limit = Math.min(left, PAGE);
      const { text, values } = conditionsOf(next);
      const page = await this.#db.query(
        `SELECT ${COLUMNS} FROM ${this.#tables.txs} ${text} ${orderOf(next)}
        LIMIT $${values.push(limit)}::int8`,
        values,
        SCAN,
      );
      yield page;
      if (page.length < limit) return;
      left -= page.length;
      next = { ...next, after: toInfo(page.at(-1)!) };
    }
  }

  /** An order of time goes on from a time, not from an id alone. */
  async #resolve({ after, ...query }: TxQuery): Promise<ResolvedQuery> {
    if (after === undefined) return query;
    if (typeof after !== "string") return { ...query, after };
    if (query.sort !== "time") {
      return { ...query, after: { txId: after, timestamp: 0 } };
    }
    const info = await this.load(after);
    if (!info) throw cursorGone(after);
    return { ...query, after: info };
  }
}

/** By its plain key an id is known; a name may look like one and be none. */
function txIdOfPlainKey(key: string): string | null {
  const txId = txIdOfKey(key);
  return txId !== null && plainKeyOrNull(txId) === key ? txId : null;
}
