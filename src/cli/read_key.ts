/**
 * Keys that a command is given: the log's own, to sign with, and those that are
 * believed.
 *
 * @module
 */

import { isAbsolute, relative, resolve } from "@std/path";
import { UsageError } from "../format/usage_error.ts";
import { MAX_TEXT } from "../proofs/encoding.ts";
import { type Signer, signerOf } from "../proofs/keys.ts";
import { parsePolicy, type Policy, policyOf } from "../proofs/policy.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { openInput, readBytes } from "./input.ts";
import { requireAccess } from "./permissions.ts";
import type { CommandName } from "./table.ts";

/** Private keys of a log, and the file that they are in. */
export interface LogKey {
  /** Path of the file. */
  keyPath: string;
  /** The keys, in their order. */
  signers: Signer[];
}

/**
 * Reads the private keys of a log, which nobody else may read and no backup takes.
 *
 * @param what What needs them, for people.
 * @param base The store that they sign for.
 */
export async function readLogKey(
  what: string,
  path: string | undefined,
  base: string,
): Promise<LogKey> {
  if (path === undefined) {
    throw new UsageError(`${what} needs the log's private key, --tlog-key`);
  }
  const text = await readSecret(path, base);
  const signers = await Promise.all(text.trimEnd().split("\n").map(signerOf));
  return { keyPath: path, signers };
}

async function readSecret(path: string, base: string): Promise<string> {
  const beside = [`${path}.state`, `${path}.lock`];
  requireAccess(["read"], [path, ...beside]);
  requireAccess(["write"], [...beside, `${path}.state.tmp`]);
  const within = relative(resolve(base), resolve(path));
  if (!within.startsWith("..") && !isAbsolute(within)) {
    throw new CliError(
      Exit.usage,
      `The key ${path} is inside the store, whose copies would have it`,
      { hint: "move it elsewhere" },
    );
  }
  const { mode } = await Deno.stat(path);
  if (Deno.build.os !== "windows" && (mode! & 0o077) !== 0) {
    throw new CliError(
      Exit.usage,
      `Others may read the key ${path}`,
      { hint: "chmod 600 it, or make another" },
    );
  }
  return await Deno.readTextFile(path);
}

/** Reads whom a checker believes: `--key` or `--policy`, and one of them only. */
export async function readPolicy(
  what: string,
  call: Pick<Call<CommandName>, "stdin" | "signal">,
  { key, policy }: { key: readonly string[]; policy: string | undefined },
): Promise<Policy> {
  if ((key.length === 0) === (policy === undefined)) {
    throw new UsageError(
      `${what} needs the keys that you believe: --key or --policy, and one of them only`,
    );
  }
  if (policy === undefined) return policyOf(...key);
  using input = await openInput(call, policy);
  const file = await readBytes(input, "The policy", MAX_TEXT, call.signal);
  return parsePolicy(file);
}

/** The bearer token in a file; undefined where none is named. */
export async function readToken(
  file: string | undefined,
): Promise<string | undefined> {
  if (file === undefined) return undefined;
  requireAccess(["read"], [file]);
  try {
    return (await Deno.readTextFile(file)).trim();
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${(error as Error).message}`);
  }
}
