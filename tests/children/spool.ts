// Takes in a payload that waits in a file, says so, and waits to be killed.

import { spool } from "../../src/shared/spool.ts";

const [size] = Deno.args.map(Number) as [number];
await using whole = await spool(ReadableStream.from([new Uint8Array(size)]));
console.log(whole.digest);
for await (const _ of Deno.stdin.readable);
