import { testObjectStore } from "../contract/object_store.ts";
import { testPayloadStore } from "../contract/payload_store.ts";
import { ceph, TestBucket } from "./ceph_store.ts";

const server = await ceph();
const options = { ignore: server === null };

async function make() {
  const bucket = await TestBucket.make(server!.endpoint);
  return {
    store: bucket.open(),
    again: () => bucket.open(),
    [Symbol.asyncDispose]: () => bucket[Symbol.asyncDispose](),
  };
}

testObjectStore("S3Store on Ceph", make, options);
testPayloadStore("S3Store on Ceph", make, options);
