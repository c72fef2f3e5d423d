// Servers speak S3 each in its own way; a small one here speaks in several.

import { assertEquals } from "@std/assert";
import { S3Store } from "../../src/shared/s3/s3_store.ts";
import { keysOf, put } from "../contract/object_store.ts";
import { bytes, test, text } from "../helpers.ts";

/** How it speaks. */
interface Dialect {
  /** What it does with a request to create an object only where none is. */
  once?: "heeds" | "ignores" | "refuses";
  /** Keys and names of uploads in parts that somebody has begun. */
  uploads?: [string, string][];
  /** Whether where a list goes on is encoded, as keys only are when asked. */
  encodesMarkers?: boolean;
}

const CREDENTIALS = { accessKeyId: "id", secretAccessKey: "secret" };

/** Uploads in a page of a list. */
const PAGE = 2;

/** An empty store on a server that speaks so. */
async function withStore(
  dialect: Dialect,
  fn: (store: S3Store) => Promise<void>,
): Promise<void> {
  const objects = new Map<string, Uint8Array<ArrayBuffer>>();
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    (request) => answer(dialect, objects, request),
  );
  const url = `s3://poh/x?endpoint=http://127.0.0.1:${server.addr.port}`;
  const store = S3Store.open(url, { credentials: CREDENTIALS });
  try {
    await fn(store);
  } finally {
    await store.close();
  }
}

async function answer(
  { once, uploads = [], encodesMarkers = true }: Dialect,
  objects: Map<string, Uint8Array<ArrayBuffer>>,
  request: Request,
): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const path = decodeURIComponent(pathname);
  if (searchParams.has("uploads")) {
    return listUploads(uploads, encodesMarkers, searchParams);
  }
  if (searchParams.has("list-type")) {
    const keys = [...objects.keys()].map((key) =>
      `<Contents><Key>${key.slice("/poh/".length)}</Key><Size>1</Size>` +
      "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
    );
    return new Response(
      `<r>${keys.join("")}<IsTruncated>false</IsTruncated></r>`,
    );
  }
  if (request.method === "GET") {
    const found = objects.get(path);
    return found ? new Response(found) : refusal(404, "NoSuchKey");
  }
  if (request.method === "DELETE") objects.delete(path);
  if (request.method === "PUT") {
    const body = await request.bytes();
    if (request.headers.has("if-none-match")) {
      if (once === "refuses") return refusal(501, "NotImplemented");
      if (once === "heeds" && objects.has(path)) {
        return refusal(412, "PreconditionFailed");
      }
    }
    objects.set(path, body);
  }
  return new Response();
}

function listUploads(
  uploads: [string, string][],
  encodesMarkers: boolean,
  query: URLSearchParams,
): Response {
  const key = query.get("key-marker") ?? "";
  const id = query.get("upload-id-marker") ?? "";
  const left = uploads.map(([name, id]) => ["x/" + name, id] as const)
    .filter((upload) => upload.join("/") > `${key}/${id}`).sort();
  const page = left.slice(0, PAGE);
  const marker = page.at(-1)?.[0] ?? "";
  const isEncoded = query.get("encoding-type") === "url";
  const items = page.map(([key, id]) =>
    `<Upload><Key>${isEncoded ? encodeURIComponent(key) : key}</Key>` +
    `<UploadId>${id}</UploadId>` +
    "<Initiated>2026-01-01T00:00:00Z</Initiated></Upload>"
  );
  return new Response(
    `<r>${isEncoded ? "<EncodingType>url</EncodingType>" : ""}
    <NextKeyMarker>${
      encodesMarkers ? encodeURIComponent(marker) : marker
    }</NextKeyMarker>
    <NextUploadIdMarker>${page.at(-1)?.[1] ?? ""}</NextUploadIdMarker>
    <IsTruncated>${left.length > PAGE}</IsTruncated>${items.join("")}</r>`,
  );
}

function refusal(status: number, code: string): Response {
  return new Response(`<Error><Code>${code}</Code></Error>`, { status });
}

for (const once of ["heeds", "ignores", "refuses"] as const) {
  test(`S3Store: an object is created where the server ${once} if-none-match`, async () => {
    await withStore({ once }, async (store) => {
      assertEquals(await store.canCreateOnce(), once === "heeds");
      assertEquals(await put(store, "a.bin", bytes("x")), true);
      assertEquals(await put(store, "a.bin", bytes("y")), once !== "heeds");
      const found = text(await store.read("a.bin"));
      assertEquals(found, once === "heeds" ? "x" : "y");
      assertEquals(await keysOf(store), ["a.bin"]);
    });
  });
}

for (const encodesMarkers of [true, false]) {
  const how = encodesMarkers ? "encoded" : "as it is";
  test(`S3Store: a list of uploads goes on where it was cut, which is told ${how}`, async () => {
    const uploads: [string, string][] = [
      ["%0A1.bin", "a"],
      ["%0A1.bin", "b"],
      ["%0A2.bin", "a"],
      ["%25.bin", "a"],
      ["b.bin", "a"],
    ];
    await withStore({ uploads, encodesMarkers }, async (store) => {
      const begun = Date.UTC(2026) / 1000;
      assertEquals(await store.deleteAbandoned(begun), 0);
      assertEquals(await store.deleteAbandoned(begun + 1), 5);
    });
  });
}
