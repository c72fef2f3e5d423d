/**
 * From a URL and the usual variables to where a bucket is and how to get there,
 * as users of the AWS tools, rclone and restic know it.
 *
 * @module
 */

import { PohStorageError } from "../../errors.ts";
import {
  decodePart,
  parametersOf,
  readVariable,
} from "../../text/url_parts.ts";

/** The variables that are looked at, and no others. */
const VARIABLES = [
  "AWS_ACCESS_KEY_ID",
  "AWS_SECRET_ACCESS_KEY",
  "AWS_SESSION_TOKEN",
  "AWS_REGION",
  "AWS_DEFAULT_REGION",
  "AWS_ENDPOINT_URL_S3",
  "AWS_ENDPOINT_URL",
] as const;

/** Gives a variable; undefined when unset, empty or not allowed. */
export type ReadVariable = (
  name: (typeof VARIABLES)[number],
) => string | undefined;

/** What may stand behind the question mark. */
const PARAMETERS = ["endpoint", "region", "path-style"];

/** What S3-compatible servers take when they have no regions. */
const REGION = "us-east-1";

const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;

/** Who signs. */
export interface Credentials {
  /** Names the key. */
  accessKeyId: string;
  /** The key. */
  secretAccessKey: string;
  /** Goes with keys that expire. */
  sessionToken?: string;
}

/** A bucket, and the folder of a store in it. */
export interface Target {
  /** For people: without credentials. */
  url: string;
  /** Name of the bucket. */
  bucket: string;
  /** What the keys of all objects of the store begin with: `""` or `a/b/`. */
  prefix: string;
  /** What requests for the bucket go to, without a slash at the end. */
  origin: string;
  /** Which part of the service signatures are for. */
  region: string;
}

/**
 * Where a URL leads: `s3://bucket/prefix?endpoint=…&region=…&path-style=true`.
 *
 * What the URL does not say, the variables do. Without an endpoint it is AWS.
 * The bucket is the first part of the path, unless `path-style=false` or the
 * endpoint is that of AWS, where it is the first part of the host.
 *
 * @throws {PohStorageError} `INVALID_URL` if it is no such URL. The message
 * does not repeat what stands where credentials may.
 */
export function targetOf(
  text: string,
  read: ReadVariable = readVariable,
): Target {
  const parts = /^s3:\/\/([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?$/i.exec(text);
  if (!parts) throw invalid("it is not of the form s3://bucket/prefix");
  const [, bucket = "", path = "", query = "", hash] = parts;
  if (hash) throw invalid("# stands for itself only as %23");
  if (bucket.includes("@")) {
    throw invalid(
      "credentials have no place in it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    );
  }
  if (!BUCKET.test(bucket)) {
    throw invalid(`${JSON.stringify(bucket)} is no name of a bucket`);
  }
  const params = parametersOf(query, PARAMETERS, invalid);
  const named = params.get("endpoint") ?? read("AWS_ENDPOINT_URL_S3") ??
    read("AWS_ENDPOINT_URL");
  const region = params.get("region") ?? read("AWS_REGION") ??
    read("AWS_DEFAULT_REGION") ?? REGION;
  if (!/^[\w-]+$/.test(region)) throw invalid("its region is no region");
  const endpoint = endpointOf(named ?? `https://s3.${region}.amazonaws.com`);
  const isPathStyle = pathStyleOf(params.get("path-style")) ??
    // No certificate is for a name with more dots.
    (!/\.amazonaws\.com(\.cn)?$/.test(endpoint.hostname) ||
      bucket.includes("."));
  return {
    url: publicUrl(bucket, path, named === undefined ? null : endpoint),
    bucket,
    prefix: prefixOf(path),
    origin: originOf(endpoint, bucket, isPathStyle),
    region,
  };
}

/**
 * The credentials of the environment.
 *
 * @throws {PohStorageError} `DENIED` if there are none.
 */
export function credentialsOf(read: ReadVariable = readVariable): Credentials {
  const accessKeyId = read("AWS_ACCESS_KEY_ID");
  const secretAccessKey = read("AWS_SECRET_ACCESS_KEY");
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new PohStorageError(
      "DENIED",
      "Object stores ask for credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and allow them to be read",
    );
  }
  const sessionToken = read("AWS_SESSION_TOKEN");
  return { accessKeyId, secretAccessKey, ...sessionToken && { sessionToken } };
}

function endpointOf(text: string): URL {
  const url = URL.parse(text);
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw invalid("its endpoint is not of the form https://host:port");
  }
  if (url.username || url.password) {
    throw invalid("credentials have no place in its endpoint");
  }
  if (url.search || url.hash) {
    throw invalid("its endpoint has more than a path");
  }
  return url;
}

function pathStyleOf(text: string | undefined): boolean | null {
  if (text === undefined) return null;
  if (text === "true" || text === "false") return text === "true";
  throw invalid("its path-style is neither true nor false");
}

function prefixOf(path: string): string {
  const parts = path.replace(/^\//, "").replace(/\/$/, "").split("/");
  if (parts.length === 1 && parts[0] === "") return "";
  const names = parts.map((part) => decodePart(part, invalid));
  if (names.some((name) => /^\.{0,2}$|[/\0]/.test(name))) {
    throw invalid("a part of its path is empty, a dot or two");
  }
  return `${names.join("/")}/`;
}

function originOf(
  { protocol, host, pathname }: URL,
  bucket: string,
  isPathStyle: boolean,
): string {
  const path = pathname.replace(/\/+$/, "");
  return isPathStyle
    ? `${protocol}//${host}${path}/${bucket}`
    : `${protocol}//${bucket}.${host}${path}`;
}

function publicUrl(bucket: string, path: string, endpoint: URL | null): string {
  const url = `s3://${bucket}${path.replace(/\/$/, "")}`;
  return endpoint === null
    ? url
    : `${url}?endpoint=${endpoint.href.replace(/\/$/, "")}`;
}

function invalid(why: string): PohStorageError {
  return new PohStorageError(
    "INVALID_URL",
    `Cannot use the URL of the object store: ${why}`,
  );
}
