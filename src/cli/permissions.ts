/**
 * Permissions are looked up before they are used, so that a missing one is an
 * error with a remedy and never a question on the terminal.
 *
 * @module
 */

import { CliError, Exit } from "./exit_codes.ts";

/**
 * Makes sure that paths may be used.
 *
 * @throws {CliError} If not; its message names the flags that would allow it.
 */
export function requireAccess(
  kinds: readonly ("read" | "write")[],
  paths: readonly string[],
): void {
  const flags: string[] = [];
  for (const name of kinds) {
    const missing = [];
    for (const path of paths) {
      const { state } = Deno.permissions.querySync({ name, path });
      if (state !== "granted") missing.push(path);
    }
    if (missing.length > 0) flags.push(`--allow-${name}=${missing.join(",")}`);
  }
  if (flags.length === 0) return;
  throw new CliError(
    Exit.failed,
    "Missing permission",
    { hint: `run again with ${flags.join(" ")}` },
  );
}

/**
 * Makes sure that a service may listen there.
 *
 * @throws {CliError} If not; its message names the flag that would allow it.
 */
export async function requireNet(host: string, port: number): Promise<void> {
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const { state } = await Deno.permissions.query({
    name: "net",
    host: address,
  });
  if (state === "granted") return;
  throw new CliError(
    Exit.failed,
    "Missing permission",
    { hint: `run again with --allow-net=${address}` },
  );
}

/**
 * Makes sure that a store's servers can be reached.
 *
 * @throws {CliError} If not; its message names the flags that would allow it.
 */
export async function requireServers(
  { hosts, variables }: { hosts: string[]; variables: string[] },
): Promise<void> {
  const missing = async (
    flag: string,
    names: string[],
    query: (name: string) => Deno.PermissionDescriptor,
  ) => {
    const states = await Promise.all(
      names.map((name) => Deno.permissions.query(query(name))),
    );
    const denied = names.filter((_, n) => states[n]!.state !== "granted");
    return denied.length > 0 ? [`${flag}=${denied.join(",")}`] : [];
  };
  const flags = [
    ...await missing("--allow-net", hosts, (host) => ({ name: "net", host })),
    ...await missing(
      "--allow-env",
      variables,
      (variable) => ({ name: "env", variable }),
    ),
  ];
  if (flags.length === 0) return;
  throw new CliError(
    Exit.failed,
    "Missing permission",
    { hint: `run again with ${flags.join(" ")}` },
  );
}

/** An environment variable; undefined when unset, empty or not allowed. */
export function readEnv(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}
