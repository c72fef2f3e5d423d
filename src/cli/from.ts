/**
 * Turns `--from` and its token into options of `verify` and `recover`.
 *
 * @module
 */

import type { CheckOptions } from "../check/check.ts";
import { UsageError } from "../format/usage_error.ts";
import { kindOfSource } from "../copy/sources/open_sources.ts";
import { isRemote, remoteStores } from "../remote_url.ts";
import type { Call } from "./call.ts";
import { readEnv, requireAccess, requireServers } from "./permissions.ts";

/**
 * The sources that the options name, which this program may use.
 *
 * @throws {CliError} If a permission is missing.
 * @throws {UsageError} If the token file cannot be read or understood.
 */
export async function fromOptions(
  { options }: Call<"verify" | "recover">,
): Promise<Pick<CheckOptions, "from" | "fromToken">> {
  const { from, "from-token-file": file } = options;
  if (from.length === 0) {
    if (file === undefined) return {};
    throw new UsageError("--from-token-file needs --from");
  }
  for (const name of from) await requireSource(name);
  const fromToken = file === undefined
    ? readEnv("POH_FROM_TOKEN")
    : await readTokens(file);
  return { from, ...(fromToken !== undefined && { fromToken }) };
}

async function requireSource(name: string): Promise<void> {
  const source = await kindOfSource(name);
  if (source.kind === "path") {
    return void requireAccess(["read"], [source.path]);
  }
  if (source.kind === "node") {
    if (!URL.canParse(source.url)) return; // whoever opens it tells
    const { hostname, port, protocol } = new URL(source.url);
    const usual = protocol === "http:" ? 80 : 443;
    const hosts = [`${hostname}:${port || usual}`];
    return await requireServers({ hosts, variables: [] });
  }
  const { base, db } = source;
  if (!isRemote(base, db ?? "")) {
    return void requireAccess(["read"], db === null ? [base] : [base, db]);
  }
  const { accessTo } = await remoteStores();
  await requireServers(await accessTo(base, db ?? ""));
}

/** One token for all nodes, or lines of a URL and a token each. */
async function readTokens(
  file: string,
): Promise<string | Record<string, string>> {
  requireAccess(["read"], [file]);
  let text: string;
  try {
    text = (await Deno.readTextFile(file)).trim();
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${(error as Error).message}`);
  }
  if (/^\S+$/.test(text)) return text;
  const tokens: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, url, token] = /^(https?:\/\/\S+)\s+(\S+)$/.exec(line.trim()) ?? [];
    if (url === undefined) {
      throw new UsageError(
        `${file} must have one token, or lines of a URL and a token`,
      );
    }
    tokens[url] = token!;
  }
  return tokens;
}
