/**
 * The program `poh-storage`: saves, loads, lists, checks and repairs
 * transactions from the command line. `poh-storage --help` tells all of it.
 *
 * ```sh
 * deno run --allow-read --allow-write --allow-env=POH_BASE,POH_DB jsr:@poh/storage/cli --help
 * ```
 *
 * @module
 */

import { argumentsOf } from "./src/cli/commit.ts";
import { main } from "./src/cli/main.ts";

export type { CliIo, DataSink, NoticeSink } from "./src/cli/output.ts";
export { main };

if (import.meta.main) Deno.exit(await main(argumentsOf(Deno.args)));
