/**
 * A tour for newcomers: makes a store in a temporary folder, fills it, backs it
 * up, has a disk fail, and shows how everything comes back. Each step is a command of the
 * program, printed as it would be typed and then run.
 *
 * With `--keep` the folder stays.
 *
 * @module
 */

import { join } from "@std/path";
import { placeOf } from "../payloads/payload_layout.ts";
import type { Tx } from "../types.ts";
import { main } from "./main.ts";
import { shellLine } from "./shell_line.ts";
import { txLine } from "../format/tx_json.ts";

/** A quarter's statements of what four accounts hold. */
const STATEMENTS = [
  ["holding-2026-0001", "minato", "JGB-10Y-380", 1_200],
  ["holding-2026-0002", "minato", "TOPIX-ETF", 45],
  ["holding-2026-0003", "lindqvist", "SEK-GREEN-2031", 300],
  ["holding-2026-0004", "okafor", "GOLD-KG", 7],
  ["holding-2026-0005", "okafor", "JGB-10Y-380", 90],
  ["holding-2026-0006", "rivera", "UST-2Y", 2_500],
] as const;

/** 2026-03-31T15:00:00Z, and a quarter of a minute between statements. */
const FIRST_TIME = 1_774_969_200;
const SECONDS_APART = 15;

const transactions: Tx[] = STATEMENTS.map((
  [txId, holderId, asset, units],
  i,
) => ({
  txId,
  holderId,
  timestamp: FIRST_TIME + i * SECONDS_APART,
  payload: new TextEncoder().encode(
    JSON.stringify({ asset, units, account: holderId, serial: i + 1 }),
  ),
}));

/** Takes the tour; true when every step ended as it should. */
export async function demo(keep: boolean): Promise<boolean> {
  const dir = await Deno.makeTempDir({ prefix: "poh-demo-" });
  const tour = new Tour(dir);
  try {
    await takeTour(tour, dir);
  } finally {
    if (!keep) await Deno.remove(dir, { recursive: true });
  }
  const deno = denoCommand();
  const cli = `${deno} task cli`;
  tour.say(
    keep
      ? `The store is in ${tour.base}; delete ${dir} when you are done.`
      : `The store was in ${dir} and is deleted; --keep would have kept it.`,
    "",
    "What to try next, in this folder, with a store in ./data:",
    `  ${cli} init`,
    `  ${cli} save --tx-id first --holder-id me --payload-file LICENSE`,
    `  ${cli} load first --output -`,
    `  ${cli} --help`,
    `poh-storage above is the same program as a single file; ${deno} task compile makes it.`,
  );
  return tour.asExpected;
}

async function takeTour(tour: Tour, dir: string): Promise<void> {
  const [first, ...others] = transactions;
  tour.say("A store is a folder of payload files and a SQLite database.");
  await tour.run(["init"], 0);

  tour.say(
    "A transaction has an id, a holder, a time and a payload in base64.",
  );
  await tour.run(["save", "--tx", txLine(first!).trimEnd()], 0);

  const file = join(dir, "statements.ndjson");
  await Deno.writeTextFile(file, others.map(txLine).join(""));
  tour.say("Many come from a file, one a line.");
  await tour.run(["import", file], 0);

  tour.say("What is there:");
  await tour.run(["list"], 0);
  await tour.run(["list", "--holder", "okafor", "--json"], 0);

  tour.say("What is loaded has been checked against its SHA-256.");
  await tour.run(["load", "holding-2026-0004"], 0);
  await tour.run(["load", "holding-2026-0004", "--output", "-"], 0);

  const backup = join(dir, "backup");
  tour.say("A backup can be made while others use the store.");
  await tour.run(["backup", backup, "--copy"], 0);

  const damaged = "holding-2026-0004", lost = "holding-2026-0002";
  const changed = await flipByte(join(tour.base, placeOf(damaged)));
  const removed = join(tour.base, placeOf(lost));
  await Deno.remove(removed);
  tour.say(
    `Now a disk fails: one bit of ${changed} is flipped,`,
    `and ${removed} is gone.`,
  );
  tour.say("A damaged payload is not handed out; the exit code says so too.");
  await tour.run(["load", damaged], 4);

  tour.say("verify changes nothing, and lists what the backup could heal.");
  await tour.run(["verify", "--from", backup], 4);

  tour.say(
    "recover looks for both in the backup, verifies what it finds against the",
    "SHA-256 that the database has, and puts it in its place.",
  );
  await tour.run(["recover", "--from", backup], 0);

  tour.say("Nothing was lost. The damaged bytes are kept, in quarantine.");
  await tour.run(["list"], 0);
  await tour.run(["load", damaged, "--output", "-"], 0);
  await tour.run(["load", lost, "--output", "-"], 0);
  await tour.run(["quarantine", "list"], 0);

  tour.say("Running it again finds nothing to do.");
  await tour.run(["recover"], 0);
}

/** How whoever runs this runs Deno. */
function denoCommand(): string {
  return /[\\/](_npx|node_modules)[\\/]/.test(Deno.execPath())
    ? `npx -y deno@${Deno.version.deno}`
    : "deno";
}

class Tour {
  readonly base: string;
  asExpected = true;
  #encoder = new TextEncoder();

  constructor(dir: string) {
    this.base = join(dir, "store");
  }

  say(...lines: string[]): void {
    this.#print(`\n${lines.join("\n")}\n`);
  }

  /** Prints a command, runs it, and prints its exit code unless it is 0. */
  async run(args: string[], expected: number): Promise<void> {
    const all = [...args, "--base", this.base];
    this.#print(`\n$ ${shellLine(["poh-storage", ...all])}\n`);
    const code = await main(all);
    if (args.includes("--output")) this.#print("\n");
    if (code !== 0) this.#print(`(exit code ${code})\n`);
    if (code !== expected) {
      this.asExpected = false;
      this.#print(`(expected ${expected})\n`);
    }
  }

  #print(text: string): void {
    const bytes = this.#encoder.encode(text);
    for (let at = 0; at < bytes.length;) {
      at += Deno.stdout.writeSync(bytes.subarray(at));
    }
  }
}

/** Flips a bit in the middle of a file; returns the file's path. */
async function flipByte(path: string): Promise<string> {
  const bytes = await Deno.readFile(path);
  const middle = bytes.length >> 1;
  bytes[middle]! ^= 1;
  await Deno.writeFile(path, bytes);
  return path;
}

if (import.meta.main) {
  try {
    Deno.exit(await demo(Deno.args.includes("--keep")) ? 0 : 1);
  } catch (error) {
    // The reader closed the pipe; the folder is already removed.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
