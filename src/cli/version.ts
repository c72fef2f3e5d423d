/**
 * What `--version` prints.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { openSqlite } from "../sqlite_driver.ts";
import { driverJson } from "./print_report.ts";

/** The versions of the program, of SQLite and of Deno. */
export async function versionText(asJson: boolean): Promise<string> {
  const connection = await openSqlite(":memory:", "auto", false);
  const { driver } = connection;
  connection.close();
  if (asJson) {
    return `${
      JSON.stringify({
        version: config.version,
        driver: driverJson(driver),
        deno: Deno.version.deno,
      })
    }\n`;
  }
  return [
    `poh-storage ${config.version}`,
    `SQLite ${driver.sqliteVersion} (${driver.name}: ${driver.library})`,
    `Deno ${Deno.version.deno} on ${Deno.build.target}`,
    "",
  ].join("\n");
}
