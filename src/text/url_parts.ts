/**
 * What the URLs of buckets and of databases have in common.
 *
 * @module
 */

/** Makes the error that says why a URL cannot be used. */
export type Refuse = (why: string) => Error;

/**
 * The parameters behind the question mark. As other programs have it in such
 * URLs, `+` stands for itself.
 *
 * @throws What `refuse` makes, if one has another name or is there twice.
 */
export function parametersOf(
  search: string,
  names: readonly string[],
  refuse: Refuse,
): Map<string, string> {
  const params = new URLSearchParams(search.replaceAll("+", "%2B"));
  for (const name of params.keys()) {
    if (names.includes(name)) continue;
    throw refuse(
      `it has the parameter ${JSON.stringify(name)}; there are ${
        names.join(", ")
      }`,
    );
  }
  const found = new Map(params);
  if (found.size < params.size) throw refuse("it has a parameter twice");
  return found;
}

/** A part of a URL as the text that it stands for. */
export function decodePart(text: string, refuse: Refuse): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse("% stands for itself only as %25");
  }
}

/** A variable of the environment; undefined when unset, empty or not allowed. */
export function readVariable(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}
