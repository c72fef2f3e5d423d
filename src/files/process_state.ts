/**
 * Whether another process runs at all.
 *
 * @module
 */

/**
 * Whether a process of this machine is stopped, as by Ctrl-Z or a debugger;
 * null where the system does not tell. Linux does, where everything is allowed
 * (`--allow-all`): Deno gives `/proc` to nobody else.
 */
export function isStopped(pid: number): boolean | null {
  if (Deno.build.os !== "linux") return null;
  let stat: string;
  try {
    stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    return null; // it may not be read, or the process is gone by now
  }
  // The name of the program may hold parentheses; the state follows the last.
  const state = stat.charAt(stat.lastIndexOf(")") + 2);
  return state === "T" || state === "t";
}
