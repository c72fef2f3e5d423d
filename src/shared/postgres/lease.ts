/**
 * The right to repair: a row that says who has it, and until when by the
 * server's clock. Its token grows whenever it passes on.
 *
 * @module
 */

import { StoreBusyError } from "../../errors.ts";
import { hostname } from "../../files/hostname.ts";
import { type Lease, leaseLost } from "../contracts.ts";
import { NOW, REPAIR } from "./commit.ts";
import type { Connections } from "./connections.ts";
import type { Tables } from "./schema.ts";

/** How many times a lease is renewed while it lasts. */
const RENEWALS = 3;

/**
 * Tokens are times, in ms: the next one is none that a server has forgotten,
 * such as a standby that was behind.
 */
const TIME = `floor(1000 * ${NOW})::int8`;

/** Takes the right, for `seconds` at a time, if nobody has it. */
export async function takeLease(
  db: Connections,
  { leases }: Tables,
  seconds: number,
  url: string,
): Promise<Lease> {
  const owner = crypto.randomUUID();
  const start = performance.now();
  // Asked again after a lost answer, the owner gets it once more.
  const [row] = await db.query(
    `INSERT INTO ${leases} AS l (name, token, owner, pid, host, since, expires)
    VALUES ($1, ${TIME}, $2, $3, $4, ${NOW}, ${NOW} + $5::float8)
    ON CONFLICT (name) DO UPDATE SET token = greatest(l.token + 1, ${TIME}), owner = excluded.owner,
      pid = excluded.pid, host = excluded.host, since = excluded.since,
      expires = excluded.expires
    WHERE l.expires < ${NOW} OR l.owner = excluded.owner
    RETURNING token::float8`,
    [REPAIR, owner, Deno.pid, hostname(), seconds],
  );
  if (row) {
    const token = row.token as number;
    return new HeldLease(db, leases, { owner, token, seconds, start });
  }
  const [holder] = await db.query(
    `SELECT pid::float8, host, since FROM ${leases} WHERE name = $1`,
    [REPAIR],
  );
  throw new StoreBusyError(`${url} is being repaired`, [{
    pid: holder!.pid as number,
    host: holder!.host as string,
    since: new Date(1_000 * (holder!.since as number)).toISOString(),
  }]);
}

/** A lease and what renews it. */
class HeldLease implements Lease {
  readonly token: number;
  readonly #db: Connections;
  readonly #leases: string;
  readonly #owner: string;
  readonly #lifetime: number;
  readonly #lost = new AbortController();
  /** Until then, by this machine's clock, nobody else can have it. */
  #safeUntil: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #renewal: Promise<void> = Promise.resolve();
  #isDisposed = false;

  constructor(
    db: Connections,
    leases: string,
    { owner, token, seconds, start }: {
      owner: string;
      token: number;
      seconds: number;
      start: number;
    },
  ) {
    this.#db = db;
    this.#leases = leases;
    this.#owner = owner;
    this.token = token;
    this.#lifetime = 1_000 * seconds;
    // Counted from before it was asked for: the server's count began later.
    this.#safeUntil = start + this.#lifetime;
    this.#planRenewal();
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    clearTimeout(this.#timer);
    await this.#renewal;
    if (this.#lost.signal.aborted) return;
    try {
      await this.#db.query(
        `UPDATE ${this.#leases} SET expires = 0 WHERE name = $1 AND owner = $2`,
        [REPAIR, this.#owner],
        { patience: this.#lifetime },
      );
    } catch {
      // It expires.
    }
  }

  #planRenewal(): void {
    this.#timer = setTimeout(() => {
      this.#renewal = this.#renew();
    }, this.#lifetime / RENEWALS);
  }

  async #renew(): Promise<void> {
    const start = performance.now();
    const left = this.#safeUntil - start;
    const isLost = setTimeout(() => this.#lose(), left);
    try {
      const [row] = await this.#db.query(
        `UPDATE ${this.#leases} SET expires = ${NOW} + $3::float8
        WHERE name = $1 AND owner = $2 RETURNING 1 AS kept`,
        [REPAIR, this.#owner, this.#lifetime / 1_000],
        { patience: left },
      );
      if (!row) this.#lose();
      else this.#safeUntil = start + this.#lifetime;
    } catch {
      this.#lose();
    } finally {
      clearTimeout(isLost);
    }
    const goesOn = !this.#isDisposed && !this.#lost.signal.aborted;
    if (goesOn) this.#planRenewal();
  }

  #lose(): void {
    this.#lost.abort(leaseLost());
  }
}
