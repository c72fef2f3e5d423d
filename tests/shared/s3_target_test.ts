import { assert, assertEquals, assertThrows } from "@std/assert";
import { PohStorageError } from "../../mod.ts";
import { waitAfter } from "../../src/shared/s3/retry.ts";
import { credentialsOf, targetOf } from "../../src/shared/s3/target.ts";
import { elements, textOf } from "../../src/shared/s3/xml.ts";

const AWS = {
  AWS_ACCESS_KEY_ID: "id",
  AWS_SECRET_ACCESS_KEY: "s3cr3t",
};

function target(url: string, env: Record<string, string> = {}) {
  return targetOf(url, (name) => env[name]);
}

Deno.test("an S3 URL leads to AWS, unless it or the environment says otherwise", () => {
  const env = {
    AWS_ENDPOINT_URL: "http://a:1",
    AWS_ENDPOINT_URL_S3: "http://b:2/",
    AWS_DEFAULT_REGION: "eu-west-1",
    AWS_REGION: "eu-west-2",
  };
  const origins: [string, Record<string, string>, string, string][] = [
    ["s3://poh", {}, "https://poh.s3.us-east-1.amazonaws.com", "us-east-1"],
    ["s3://poh/a?region=x-1", {}, "https://poh.s3.x-1.amazonaws.com", "x-1"],
    ["s3://p.o.h", {}, "https://s3.us-east-1.amazonaws.com/p.o.h", "us-east-1"],
    ["s3://poh?endpoint=https://c/", {}, "https://c/poh", "us-east-1"],
    ["s3://poh?endpoint=https://c/s3/", {}, "https://c/s3/poh", "us-east-1"],
    ["s3://poh?endpoint=https://c&region=auto", env, "https://c/poh", "auto"],
    [
      "s3://poh?endpoint=https://c&path-style=false",
      {},
      "https://poh.c",
      "us-east-1",
    ],
    ["s3://poh?endpoint=http://[::1]:9", {}, "http://[::1]:9/poh", "us-east-1"],
    ["S3://poh", env, "http://b:2/poh", "eu-west-2"],
    [
      "s3://poh",
      { AWS_ENDPOINT_URL: "http://a:1" },
      "http://a:1/poh",
      "us-east-1",
    ],
    [
      "s3://poh",
      { AWS_DEFAULT_REGION: "eu-west-1" },
      "https://poh.s3.eu-west-1.amazonaws.com",
      "eu-west-1",
    ],
  ];
  for (const [url, env, origin, region] of origins) {
    const found = target(url, env);
    assertEquals([found.origin, found.region], [origin, region], url);
  }
});

Deno.test("the path of an S3 URL is the folder of the store", () => {
  const prefixes: [string, string][] = [
    ["s3://poh", ""],
    ["s3://poh/", ""],
    ["s3://poh/node1", "node1/"],
    ["s3://poh/a/b/", "a/b/"],
    ["s3://poh/a%20b/%E5%8F%96+100%25", "a b/取+100%/"],
    ["s3://poh/取", "取/"],
  ];
  for (const [url, prefix] of prefixes) {
    assertEquals(target(url).prefix, prefix, url);
    assertEquals(target(url).url, url.replace(/\/$/, ""));
  }
  assertEquals(
    target("s3://poh/a/?endpoint=https://c/").url,
    "s3://poh/a?endpoint=https://c",
  );
});

Deno.test("an S3 URL that cannot be meant is refused in one line, without secrets", () => {
  const urls: Record<string, string> = {
    "s3:poh": "form s3://bucket/prefix",
    "http://poh": "form s3://bucket/prefix",
    "s3://": "no name of a bucket",
    "s3://P": "no name of a bucket",
    "s3://a_b": "no name of a bucket",
    "s3://poh:9000/a": "no name of a bucket",
    "s3://id:s3cr3t@poh/a": "credentials",
    "s3://poh//a": "part of its path",
    "s3://poh/a//b": "part of its path",
    "s3://poh/../b": "part of its path",
    "s3://poh/%2e%2e/b": "part of its path",
    "s3://poh/a%2Fb": "part of its path",
    "s3://poh/100%": "%25",
    "s3://poh/a#b": "%23",
    "s3://poh?secret=s3cr3t": '"secret"; there are endpoint, region',
    "s3://poh?endpoint=localhost:9000": "https://host:port",
    "s3://poh?endpoint=c": "https://host:port",
    "s3://poh?endpoint=https://id:s3cr3t@c": "credentials",
    "s3://poh?endpoint=https://c?s3cr3t": "more than a path",
    "s3://poh?path-style=yes": "neither true nor false",
    "s3://poh?region=": "region",
    "s3://poh?region=a&region=b": "twice",
    "s3://poh?region=a/b": "region",
  };
  for (const [url, why] of Object.entries(urls)) {
    const error = assertThrows(() => target(url), PohStorageError, why);
    assertEquals(error.code, "INVALID_URL");
    assert(!error.message.includes("s3cr3t"), error.message);
    assert(!/[\n.]$/.test(error.message), error.message);
  }
});

Deno.test("credentials are those of the environment, all or none", () => {
  const of = (env: Record<string, string>) =>
    credentialsOf((name) => env[name]);
  assertEquals(of(AWS), { accessKeyId: "id", secretAccessKey: "s3cr3t" });
  assertEquals(of({ ...AWS, AWS_SESSION_TOKEN: "t" }).sessionToken, "t");
  for (const name of Object.keys(AWS)) {
    const error = assertThrows(() => of({ [name]: "x" }), PohStorageError);
    assertEquals(error.code, "DENIED");
  }
});

Deno.test("waits between attempts grow, are random, and end somewhere", () => {
  assertEquals([1, 2, 3].map((n) => waitAfter(n, () => 0.5)), [100, 200, 400]);
  assertEquals(waitAfter(100, () => 0.5), 2_500);
  assertEquals(waitAfter(100, () => 0), 0);
});

Deno.test("the XML of S3 is read, with and without names of spaces", () => {
  const xml =
    '<?xml version="1.0"?><R xmlns="http://s3/"><C><K>a&amp;b</K></C>' +
    "<C a='1'><K>&lt;&#39;&#x53d6;&unknown;</K></C><Key>no</Key></R>";
  assertEquals(
    elements(xml, "C").map((item) => textOf(item, "K")),
    ["a&b", "<'取&unknown;"],
  );
  assertEquals(textOf(xml, "Missing"), null);
  assertEquals(textOf("<K></K>", "K"), "");
  assertEquals(elements(xml, "R").length, 1);
});
