/**
 * A password that is not in the URL: from `PGPASSWORD`, or from the file in
 * which `psql` finds it, if these may be read. Nothing is asked for.
 *
 * @module
 */

import { PohStorageError } from "../../errors.ts";
import { readVariable } from "../../text/url_parts.ts";

/** Who wants in, and where. */
export interface Login {
  /** Host name, address or path of a socket. */
  host: string;
  /** Port. */
  port: number;
  /** Database. */
  database: string;
  /** Role. */
  user: string;
}

/** @throws {PohStorageError} `DENIED` if there is none. */
export async function passwordFor(login: Login): Promise<string> {
  const found = readVariable("PGPASSWORD") ?? await passwordInFile(login);
  if (found !== undefined) return found;
  throw new PohStorageError(
    "DENIED",
    "The server asks for a password; PGPASSWORD and ~/.pgpass have none that may be read",
  );
}

async function passwordInFile(login: Login): Promise<string | undefined> {
  const home = readVariable("HOME");
  const path = readVariable("PGPASSFILE") ?? (home && `${home}/.pgpass`);
  if (path === undefined) return undefined;
  const { state } = await Deno.permissions.query({ name: "read", path });
  if (state !== "granted") return undefined;
  try {
    const { mode } = await Deno.stat(path);
    // As psql does: a secret that others can read is none.
    if (mode !== null && (mode & 0o077) !== 0) return undefined;
    return passwordIn(await Deno.readTextFile(path), login);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new PohStorageError("DENIED", `Cannot read ${path}`, {
      cause: error,
    });
  }
}

/**
 * The password in lines of `host:port:database:user:password`, where `*` stands
 * for all and a backslash for what follows it; the first that fits.
 */
export function passwordIn(text: string, login: Login): string | undefined {
  const wanted = [login.host, `${login.port}`, login.database, login.user];
  for (const line of text.split(/\r?\n/)) {
    const fields = LINE.exec(line)?.slice(1);
    if (!fields || line.startsWith("#")) continue;
    const fits = wanted.every((value, n) =>
      fields[n] === "*" || unescaped(fields[n]!) === value
    );
    if (fits) return unescaped(fields[4]!);
  }
  return undefined;
}

const LINE = new RegExp(`^${String.raw`((?:\\.|[^\\:])*):`.repeat(4)}(.*)$`);

function unescaped(field: string): string {
  return field.replace(/\\(.)/g, "$1");
}
