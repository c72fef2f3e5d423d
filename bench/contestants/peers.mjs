/**
 * The npm packages of the folder that `run.ts` installs them in.
 *
 * @module
 */

import { createRequire } from "node:module";
import process from "node:process";

const require = createRequire(`${process.env.BENCH_PEERS}/`);

/** A peer's exports; ends the program where it could not be installed. */
export function peer(name) {
  try {
    return require(name);
  } catch (error) {
    const skipped = `${name} cannot be loaded: ${error.message.split("\n")[0]}`;
    console.log(JSON.stringify({ skipped }));
    process.exit();
  }
}
