/** The name of this machine; empty where it may not be asked for. */
export function hostname(): string {
  const { state } = Deno.permissions.querySync({
    name: "sys",
    kind: "hostname",
  });
  return state === "granted" ? Deno.hostname() : "";
}
