/**
 * One connection, and what it is told at its beginning.
 *
 * @module
 */

import { type ClientBase, type ClientConfig, pg } from "./packages.ts";

/**
 * What the driver would look for in the environment, and fail where that is not
 * allowed. A {@linkcode Client} takes back what is not meant.
 */
const TOLD = {
  options: " ",
  client_encoding: "UTF8",
  sslnegotiation: "postgres",
  binary: true,
  replication: "false",
};

/**
 * A connection that asks for no environment variables, if it is told host,
 * port, user, database, password, application_name, ssl and a time to connect.
 */
export class Client extends pg.Client {
  /** Connects when it is told to. */
  constructor(config: ClientConfig) {
    // Not a copy: the pool hides the password from those who make copies.
    super(Object.assign(Object.create(config), { ...TOLD, ...config }));
    const made = this as unknown as {
      binary: boolean;
      connectionParameters: { options?: string; replication?: string };
    };
    made.binary = false;
    delete made.connectionParameters.replication;
    if (config.options === undefined) delete made.connectionParameters.options;
  }
}

/** Breaks a connection that has been told to end, and may never do so. */
export function abandonIfEnding(client: ClientBase): void {
  const { _ending, connection } = client as unknown as {
    _ending: boolean;
    connection: { stream: { destroy(): void } };
  };
  if (_ending) connection.stream.destroy();
}

/** What a connection is for. */
export interface Purpose {
  /** How long a statement may take, in ms. */
  timeout: number;
  /** Whether statements go through many rows, and not to a few by their keys. */
  scans: boolean;
}

/**
 * What every connection relies on, whatever the server's defaults are.
 * Statements see one state of the database, and fail where another has changed
 * what they change. A commit is on the disk when it is answered; where the
 * server waits for standbys besides, it goes on doing so.
 *
 * And what helps where the server can do it: what nobody waits for any more is
 * broken off. Plans for many rows are made for what is bound. Those for a few
 * rows by their keys are made once, and are by indexes even while a table is
 * small: made for a small table they would be slow for long when it has grown.
 */
export async function prepare(
  client: ClientBase,
  { timeout, scans }: Purpose,
): Promise<void> {
  await client.query(`
    SET default_transaction_isolation = 'repeatable read';
    SET default_transaction_read_only = off;
    SET statement_timeout = ${timeout};
    SET lock_timeout = ${timeout};
    SET idle_in_transaction_session_timeout = ${timeout};
    SET standard_conforming_strings = on;
    SET extra_float_digits = 3;
    SELECT set_config('synchronous_commit', 'on', false)
      WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply');
    SELECT set_config(name, value, false) FROM pg_settings JOIN (VALUES
      ('enable_seqscan', '${scans ? "on" : "off"}'),
      ('plan_cache_mode', 'force_${scans ? "custom" : "generic"}_plan'),
      ('client_connection_check_interval', '10s')) AS wanted (name, value)
      USING (name);
  `);
}
