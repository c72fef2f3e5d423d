/**
 * Saves a payload and reads it back: `s3_save.ts URL`. Says "saved".
 *
 * @module
 */

import { S3Store } from "../../src/shared/s3/s3_store.ts";

const store = S3Store.open(Deno.args[0]!);
await store.save("a", new TextEncoder().encode("hello"));
const loaded = await store.load("a");
await store.close();
if (new TextDecoder().decode(loaded!) === "hello") console.log("saved");
