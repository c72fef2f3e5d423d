import type { MigrateReport } from "../migrate.ts";
import { byteText } from "../format/size_text.ts";
import { UsageError } from "../format/usage_error.ts";
import type { Call } from "./call.ts";
import { endingOf } from "./left_out.ts";
import { Progress } from "./progress.ts";
import { dbPath, openStore, type StoreValues } from "./store.ts";

/** `poh-storage migrate` */
export async function run(call: Call<"migrate">): Promise<number> {
  const report = await migrate(call);
  const { copied, bytes, replaced, present, interrupted } = report;
  await call.output.print(
    call.options.json
      ? `${JSON.stringify(report)}\n`
      : `Migration ${
        interrupted ? "not complete" : "complete"
      }: ${copied} copied (${byteText(bytes)}${
        replaced > 0 ? `, ${replaced} of them replaced another` : ""
      }), ${present} there already\n`,
  );
  return endingOf(
    report,
    interrupted ? "Interrupted; run it again to go on" : null,
  );
}

async function migrate(call: Call<"migrate">): Promise<MigrateReport> {
  const { options, output, signal } = call;
  const { from, to } = storesOf(options);
  const { migrateStore } = await import("../migrate.ts");
  await using source = await openStore(
    { options: from, signal, output },
    "read",
  );
  await using target = await openStore(
    { options: to, signal, output },
    "write",
  );
  if (source.writeOnce && !target.writeOnce) {
    output.notice(
      "The source is write-once and the target is not: init --write-once makes one that is",
    );
  }
  using progress = new Progress(output, "migrate");
  return await migrateStore(source, target, {
    signal,
    verify: options.verify,
    onProgress: (amount) => progress.update(amount),
    onLeftOut: ({ message }) => output.error(message),
  });
}

/** The two stores; the source is that of --base and --db unless told. */
function storesOf(
  options: Call<"migrate">["options"],
): { from: StoreValues; to: StoreValues } {
  const { driver, durability, "lock-timeout": lockTimeout } = options;
  const base = options["from-base"] ?? options.base;
  const db = options["from-db"] ??
    (options["from-base"] === undefined ? options.db : undefined);
  if (options["to-base"] === undefined) {
    throw new UsageError("migrate needs --to-base");
  }
  const from = { base, db, driver, "lock-timeout": lockTimeout };
  const to = {
    base: options["to-base"],
    db: options["to-db"],
    driver,
    durability,
    "lock-timeout": lockTimeout,
  };
  if (from.base === to.base && dbPath(from) === dbPath(to)) {
    throw new UsageError("migrate needs two different stores");
  }
  return { from, to };
}
