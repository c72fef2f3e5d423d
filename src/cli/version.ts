/**
 * Prints versions.
 *
 * @module
 */

import config from "../../deno.json" with { type: "json" };
import { commit } from "./commit.ts";

/**
 * Returns the versions of the program and of Deno, and the commit where it is
 * known; as JSON also the version of SQLite, for which a database is opened.
 */
export async function versionText(asJson: boolean): Promise<string> {
  const from = await commit();
  if (asJson) {
    return `${
      JSON.stringify({
        version: config.version,
        ...(from !== null && { commit: from }),
        driver: await driver(),
        deno: Deno.version.deno,
      })
    }\n`;
  }
  return [
    `poh-storage ${config.version}${from === null ? "" : ` (commit ${from})`}`,
    `Deno ${Deno.version.deno} on ${Deno.build.target}`,
    "",
  ].join("\n");
}

async function driver(): Promise<Record<string, string>> {
  const { openSqlite } = await import("../sqlite/driver.ts");
  const { driverJson } = await import("../format/report_json.ts");
  const connection = await openSqlite(":memory:", "auto", false);
  connection.close();
  return driverJson(connection.driver);
}
