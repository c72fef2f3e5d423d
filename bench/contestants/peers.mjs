/** The npm packages of the folder that `run.ts` installs them in. */
import { createRequire } from "node:module";
import process from "node:process";

const require = createRequire(`${process.env.BENCH_PEERS}/`);

/** A peer's exports. */
export const peer = (name) => require(name);
