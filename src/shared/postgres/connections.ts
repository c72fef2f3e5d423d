/**
 * Connections to a server that may go away at any moment and come back.
 *
 * @module
 */

import { StoreClosedError } from "../../errors.ts";
import { Slots } from "../../async/slots.ts";
import { abandonIfEnding, Client, prepare, type Purpose } from "./client.ts";
import {
  isAnswer,
  isPassing,
  isTimeout,
  isWithoutTls,
  translate,
} from "./failures.ts";
import { type ClientBase, pg, type PoolConfig } from "./packages.ts";
import type { Target } from "./target.ts";

/** Connections for what is short, and for what goes through many rows. */
const CONNECTIONS = 8;
const SCAN_CONNECTIONS = 4;

/** How long a short statement may take, in ms. */
const STATEMENT_TIMEOUT = 10_000;

/**
 * How long one that goes through many rows may take, in ms. At first it is
 * waited for so many times as long as for a short one, and longer each time,
 * if the server answers others: one that has vanished is noticed soon.
 */
const SCAN_TIMEOUT = 600_000;
const FIRST_SCAN = 3;
const SCAN_GROWTH = 4;

/**
 * How much longer than the server the driver waits for an answer, in ms; no
 * more than as long again.
 */
const TRAVEL_TIME = 2_000;

/** For so long, in ms, is done again what fails by something that passes. */
const PATIENCE = 30_000;

/** As long as the server has never answered, the URL may be a wrong one. */
const FIRST_PATIENCE = 5_000;

/** The longest pause before the first try again, and before any, in ms. */
const FIRST_PAUSE = 20;
const LONGEST_PAUSE = 1_000;

/** How long a connection may take to end, in ms. */
const GOODBYE = 1_000;

/** How long a connection may be idle before probes find out, in ms. */
const KEEP_ALIVE = 10_000;

/** Limits of time; what is not given is as documented above. */
export interface ConnectionLimits {
  /** How long a short statement may take, in ms; 10,000. */
  statementTimeout?: number;
  /** How long to try again, in ms; 30,000. */
  patience?: number;
}

/** A row, by the names of its columns. */
export type Row = Record<string, unknown>;

/** Runs a statement; its rows. One with a name is parsed once a connection. */
export type Run = (
  text: string,
  values?: unknown[],
  name?: string,
) => Promise<Row[]>;

/** What a statement is like. */
export interface Kind {
  /** Goes through many rows: may take long, and keeps no short one waiting. */
  scan?: boolean;
  /** How long to try again, in ms. */
  patience?: number;
}

/** A pool of connections that mends itself. */
export class Connections {
  readonly #target: Target;
  readonly #patience: number;
  readonly #firstScan: number;
  readonly #short: Pool;
  readonly #scans: Pool;
  #hasAnswered = false;
  #closed: Promise<void> | null = null;

  /** Connects when first used. */
  constructor(target: Target, limits: ConnectionLimits = {}) {
    this.#target = target;
    this.#patience = limits.patience ?? PATIENCE;
    const timeout = limits.statementTimeout ?? STATEMENT_TIMEOUT;
    this.#firstScan = FIRST_SCAN * timeout;
    this.#short = new Pool(target.config, CONNECTIONS, {
      timeout,
      scans: false,
    });
    this.#scans = new Pool(target.config, SCAN_CONNECTIONS, {
      timeout: SCAN_TIMEOUT,
      scans: true,
    });
  }

  /** Runs one statement, a transaction of its own; its rows. */
  query(text: string, values?: unknown[], kind?: Kind): Promise<Row[]> {
    return this.attempt((run) => run(text, values), kind);
  }

  /** Runs several statements in one transaction, which `work` may do anew. */
  transaction<T>(work: (run: Run) => Promise<T>, kind?: Kind): Promise<T> {
    return this.attempt(async (run) => {
      await run("BEGIN ISOLATION LEVEL REPEATABLE READ");
      try {
        const result = await work(run);
        await run("COMMIT");
        return result;
      } catch (error) {
        // Where the connection is gone, so is the transaction.
        if (isAnswer(error)) await run("ROLLBACK");
        throw error;
      }
    }, kind);
  }

  /**
   * Does work on a connection; again, and on another one if need be, when it
   * fails by something that passes. Its last statement may have been carried
   * out then.
   */
  async attempt<T>(
    work: (run: Run) => Promise<T>,
    { scan = false, patience = this.#patience }: Kind = {},
  ): Promise<T> {
    let start = performance.now();
    let timeout = this.#firstScan;
    for (let pause = FIRST_PAUSE;; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      if (this.#closed) throw new StoreClosedError();
      try {
        const result =
          await (scan ? this.#scans.use(work, timeout) : this.#short.use(work));
        this.#hasAnswered = true;
        return result;
      } catch (error) {
        if (this.#yieldsTls(error)) continue;
        if (scan && isTimeout(error) && timeout < SCAN_TIMEOUT) {
          await this.query("SELECT 1", [], { patience });
          start = performance.now();
          timeout = Math.min(SCAN_GROWTH * timeout, SCAN_TIMEOUT);
          continue;
        }
        const waited = performance.now() - start;
        const limit = this.#hasAnswered
          ? patience
          : Math.min(patience, FIRST_PATIENCE);
        const left = limit - waited;
        if (!isPassing(error) || left <= 0) {
          throw translate(this.#target, error);
        }
        // Full jitter: those that failed together do not come back together.
        await delay(Math.min(Math.random() * pause, left));
      }
    }
  }

  /** Lets go of all connections; what is under way comes to its end. */
  close(): Promise<void> {
    return this.#closed ??= Promise.all([
      this.#short.end(),
      this.#scans.end(),
    ]).then(() => {});
  }

  #yieldsTls(error: unknown): boolean {
    if (!this.#target.prefersTls || !isWithoutTls(error)) return false;
    this.#short.dropTls();
    this.#scans.dropTls();
    return true;
  }
}

/** One pool of the driver's, entered by no more than it has connections for. */
class Pool {
  readonly #pool: InstanceType<typeof pg.Pool>;
  readonly #timeout: number;
  readonly #clients = new Set<ClientBase>();
  /** The driver's own queue would count waiting as time to connect. */
  readonly #slots: Slots;

  constructor(config: PoolConfig, max: number, purpose: Purpose) {
    this.#slots = new Slots(max);
    this.#timeout = purpose.timeout;
    this.#pool = new pg.Pool({
      ...config,
      Client: Client as unknown as NonNullable<PoolConfig["Client"]>,
      max,
      query_timeout: config.connectionTimeoutMillis!, // of the first statements
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE,
      onConnect: (client) => prepare(client, purpose),
      // A program may end although it has not closed its store.
      allowExitOnIdle: true,
    });
    // A connection that breaks while idle is replaced when it is needed.
    this.#pool.on("error", () => {});
    // One that breaks in use tells whoever uses it, as well as its listeners.
    this.#pool.on("connect", (client) => {
      client.on("error", () => {});
      this.#clients.add(client);
    });
    this.#pool.on("remove", (client) => this.#clients.delete(client));
  }

  /** Does work, waiting so long for each answer; as long as the server does. */
  use<T>(
    work: (run: Run) => Promise<T>,
    timeout = this.#timeout,
  ): Promise<T> {
    const limit = timeout + Math.min(timeout, TRAVEL_TIME);
    return this.#slots.run(() => this.#use(work, limit));
  }

  dropTls(): void {
    (this.#pool as unknown as { options: PoolConfig }).options.ssl = false;
  }

  async end(): Promise<void> {
    // The driver forgets whoever waits for a connection when it ends.
    await this.#slots.idle();
    // A server that has vanished does not say goodbye.
    const timer = setInterval(() => {
      for (const client of this.#clients) abandonIfEnding(client);
    }, GOODBYE);
    await this.#pool.end();
    clearInterval(timer);
  }

  async #use<T>(
    work: (run: Run) => Promise<T>,
    query_timeout: number,
  ): Promise<T> {
    const client = await this.#pool.connect();
    let isSound = false;
    try {
      const result = await work(async (text, values, name) => {
        const statement = {
          text,
          query_timeout,
          ...values && { values },
          ...name !== undefined && { name },
        };
        return (await client.query(statement)).rows as Row[];
      });
      isSound = true;
      return result;
    } catch (error) {
      isSound = isAnswer(error);
      throw error;
    } finally {
      client.release(!isSound);
    }
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
