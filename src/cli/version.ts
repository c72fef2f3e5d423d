/**
 * What `--version` prints.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { commit } from "./commit.ts";
import { openSqlite } from "../sqlite_driver.ts";
import { driverJson } from "./print_report.ts";

/** The versions of the program, of SQLite and of Deno; the commit where it is known. */
export async function versionText(asJson: boolean): Promise<string> {
  const connection = await openSqlite(":memory:", "auto", false);
  const { driver } = connection;
  connection.close();
  const from = await commit();
  if (asJson) {
    return `${
      JSON.stringify({
        version: config.version,
        ...(from !== null && { commit: from }),
        driver: driverJson(driver),
        deno: Deno.version.deno,
      })
    }\n`;
  }
  return [
    `poh-storage ${config.version}${from === null ? "" : ` (commit ${from})`}`,
    `SQLite ${driver.sqliteVersion} (${driver.name}: ${driver.library})`,
    `Deno ${Deno.version.deno} on ${Deno.build.target}`,
    "",
  ].join("\n");
}
