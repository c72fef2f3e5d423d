import { printable } from "../text/printable.ts";
import { UsageError } from "../format/usage_error.ts";
import { isLoopback, localGuard, tokenGuard } from "../http/access.ts";
import type { Guard } from "../http/access.ts";
import type { Address } from "../http/server.ts";
import type { Service } from "../http/service.ts";
import { countTakenOut } from "../model/report.ts";
import type { Call } from "./call.ts";
import { CliError, Exit } from "./exit_codes.ts";
import { readEnv, requireAccess, requireNet } from "./permissions.ts";
import { requireSoundDatabase, tellOutcome } from "./print_report.ts";
import { isRemote } from "../remote_url.ts";
import { dbPath, requireThere, storageOptions, tellIfNew } from "./store.ts";

/** A token that can be guessed is none. */
const TOKEN = /^[\x21-\x7e]{16,}$/;

/** `poh-storage serve` */
export async function run(call: Call<"serve">): Promise<number> {
  const { options, output, signal } = call;
  if (options["max-body"] < 1) {
    throw new UsageError("--max-body must be 1 or more");
  }
  const address = { host: options.host, port: portOf(options.port) };
  const guard = guardOf(await tokenOf(options["token-file"]), options.host);
  await requireNet(address.host, address.port);
  await requireThere(options, options.create ? "create" : "write");
  const service = await makeService(call);
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
          output.notice(
            `Warning: recovery took ${takenOut} transactions out of service`,
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

async function makeService(call: Call<"serve">): Promise<Service> {
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
    notice: (line) => output.notice(printable(line)),
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

/** The token, from where other users of the machine cannot see it; or null. */
async function tokenOf(file: string | undefined): Promise<string | null> {
  const token = file === undefined
    ? readEnv("POH_TOKEN")
    : await readTokenFile(file);
  if (token === undefined) return null;
  if (TOKEN.test(token)) return token;
  throw new UsageError(
    `The token in ${
      file ?? "POH_TOKEN"
    } must be 16 or more visible ASCII characters, without spaces`,
  );
}

async function readTokenFile(file: string): Promise<string> {
  requireAccess(["read"], [file]);
  try {
    return (await Deno.readTextFile(file)).trim();
  } catch (error) {
    throw new UsageError(`Cannot read ${file}: ${(error as Error).message}`);
  }
}

function guardOf(token: string | null, host: string): Guard {
  if (token !== null) return tokenGuard(token);
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
