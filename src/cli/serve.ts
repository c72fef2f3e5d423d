import config from "../../deno.json" with { type: "json" };
import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import { isLoopback, localGuard, tokenGuard } from "../http/access.ts";
import type { Guard } from "../http/access.ts";
import type { Address } from "../http/server.ts";
import { jsonLine } from "../http/log.ts";
import type { Service } from "../http/service.ts";
import { readTokens, type Token, tokenOf } from "../http/tokens.ts";
import { countText } from "../format/count_text.ts";
import { type LogKey, readLogKey } from "./read_key.ts";
import { countTakenOut } from "../model/report.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import type { Output } from "./output.ts";
import { readEnv, requireAccess, requireNet } from "./permissions.ts";
import { requireSoundDatabase, tellOutcome } from "./print_report.ts";
import { isRemote } from "../remote_url.ts";
import { dbPath, requireThere, storageOptions, tellIfNew } from "./store.ts";

/** `poh-storage serve` */
export async function run(call: Call<"serve">): Promise<number> {
  const { options, output, signal } = call;
  if (options["max-body"] < 1) {
    throw new UsageError("--max-body must be 1 or more");
  }
  const address = { host: options.host, port: portOf(options.port) };
  await using tokens = await tokensOf(options["token-file"], output);
  const guard = guardOf(tokens, options.host);
  await requireNet(address.host, address.port);
  await requireThere(options, options.create ? "create" : "write");
  const key = options["tlog-key"];
  const logKey = key === undefined
    ? undefined
    : await readLogKey("serve", key, options.base);
  if (options.log === "json") {
    output.noticeForm = (line) => jsonLine(line, "info", {});
  }
  const service = await makeService(call, logKey);
  try {
    await using server = await listen(service, guard, address);
    await output.print(
      options.json
        ? `${JSON.stringify({ url: server.url })}\n`
        : `Listening on ${server.url}\n`,
    );
    await output.flush();
    if (options.create) await tellIfNew(options, output);
    if (await service.start(signal)) {
      const { recovery } = service;
      if (recovery.kind === "done") {
        const takenOut = countTakenOut(recovery.report);
        if (takenOut > 0) {
          service.notice(
            `Warning: recovery took ${takenOut} transactions out of service`,
            "warn",
            { taken_out: takenOut },
          );
        }
        tellOutcome(output, options, recovery.report);
      }
      output.notice("Ready");
      await aborted(signal);
    }
  } finally {
    await service.close();
  }
  const { recovery } = service;
  if (recovery.kind === "done") requireSoundDatabase(recovery.report);
  return Exit.done;
}

async function makeService(
  call: Call<"serve">,
  logKey: LogKey | undefined,
): Promise<Service> {
  const { options, output } = call;
  const { Service } = await import("../http/service.ts");
  const { DEFAULT_LIMITS } = await import("../http/limits.ts");
  const maxBody = options["max-body"];
  return new Service({
    base: options.base,
    db: dbPath(options),
    storage: storageOptions(call, "write"),
    create: options.create,
    // One that machines share is recovered beside them, and not by each.
    recover: !options["skip-recovery"] &&
      !isRemote(options.base, dbPath(options)),
    limits: {
      ...DEFAULT_LIMITS,
      maxBody,
      drain: options.drain * 1_000,
      bodyBudget: Math.max(maxBody, DEFAULT_LIMITS.bodyBudget),
    },
    isLogPublic: options["public-tlog"],
    ...(logKey && { logKey }),
    notice: (line, level, fields) =>
      output.notice(
        line,
        options.log === "json"
          ? () => jsonLine(line, level, fields)
          : printable,
      ),
    accessLog: options["access-log"],
    version: config.version,
  });
}

async function listen(service: Service, guard: Guard, address: Address) {
  const { HttpServer } = await import("../http/server.ts");
  try {
    return HttpServer.listen(service, guard, address);
  } catch (error) {
    throw new CliError(
      Exit.failed,
      `Cannot listen on ${address.host}:${address.port}: ${
        (error as Error).message
      }`,
      { cause: error },
    );
  }
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new UsageError(
    `--port must be an integer from 0 to 65535, got ${JSON.stringify(text)}`,
  );
}

/** Tokens, from where other users of the machine cannot see them. */
interface Tokens extends AsyncDisposable {
  /** Those that are good now; null: none is asked for. */
  now(): readonly Token[] | null;
}

/** The tokens of a file, which are read anew at SIGHUP, or of the environment. */
async function tokensOf(
  file: string | undefined,
  output: Output,
): Promise<Tokens> {
  let tokens = file === undefined ? tokenOfEnv() : await readTokenFile(file);
  let reading = Promise.resolve();
  const read = async () => {
    try {
      tokens = await readTokenFile(file!);
      output.notice(`Read ${countText(tokens.length, "token")} again`);
    } catch (error) {
      output.notice(`${(error as Error).message}: those of before stay good`);
    }
  };
  const onHangUp = () => {
    reading = reading.then(read);
  };
  // Windows has no such signal.
  const listens = file !== undefined && Deno.build.os !== "windows";
  if (listens) Deno.addSignalListener("SIGHUP", onHangUp);
  return {
    now: () => tokens,
    async [Symbol.asyncDispose]() {
      if (listens) Deno.removeSignalListener("SIGHUP", onHangUp);
      await reading;
    },
  };
}

function tokenOfEnv(): Token[] | null {
  const token = readEnv("POH_TOKEN");
  return token === undefined
    ? null
    : saying("POH_TOKEN", () => [tokenOf(token, "write")]);
}

async function readTokenFile(file: string): Promise<Token[]> {
  requireAccess(["read"], [file]);
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${(error as Error).message}`);
  }
  return saying(file, () => readTokens(text));
}

/** Says where a token that is refused came from. */
function saying(where: string, read: () => Token[]): Token[] {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${where}: ${error.message}`);
  }
}

function guardOf(tokens: Tokens, host: string): Guard {
  if (tokens.now() !== null) return tokenGuard(() => tokens.now()!);
  if (isLoopback(host)) return localGuard;
  throw new UsageError(
    `--host ${host} can be reached from other machines: set a token by POH_TOKEN or --token-file`,
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
