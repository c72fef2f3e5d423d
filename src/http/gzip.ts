/**
 * Answers that are compressed where the client takes that.
 *
 * @module
 */

/** What is shorter, in characters, is not worth it. */
const WORTHWHILE = 1_024;

/**
 * The same response, compressed if the request takes gzip and it is text. It is
 * not for payloads: their entity tags and ranges are of their bytes.
 *
 * @param length How long it is, in characters; unless given, long.
 */
export function gzipped(
  { headers, method }: Request,
  response: Response,
  length = Infinity,
): Response {
  response.headers.append("vary", "accept-encoding");
  const isWanted = method !== "HEAD" && response.body !== null &&
    length >= WORTHWHILE && takesGzip(headers.get("accept-encoding"));
  if (!isWanted) return response;
  response.headers.set("content-encoding", "gzip");
  return new Response(
    response.body.pipeThrough(new CompressionStream("gzip")),
    response,
  );
}

function takesGzip(accepted: string | null): boolean {
  for (const coding of accepted?.toLowerCase().split(",") ?? []) {
    const [name, ...parameters] = coding.split(";").map((part) => part.trim());
    if (name !== "gzip") continue;
    return !parameters.some((part) => /^q=0(\.0*)?$/.test(part));
  }
  return false;
}
