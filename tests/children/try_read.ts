/**
 * Reads small files in the fewest calls, with all permissions that it has and
 * once more without the network: `try_read.ts SIZE PATH…` prints what it got.
 *
 * @module
 */

import { tryReadSync } from "../../src/files/durable_fs.ts";
import { refusesLinks } from "../../src/files/no_follow.ts";

const [size, ...paths] = Deno.args;

function look() {
  const read = paths.map((path) => tryReadSync(path, Number(size)));
  const texts = read.map((bytes) => bytes && new TextDecoder().decode(bytes));
  return { texts, refusesLinks: refusesLinks() };
}

const first = look();
Deno.permissions.revokeSync({ name: "net" });
console.log(JSON.stringify([first, look()]));
