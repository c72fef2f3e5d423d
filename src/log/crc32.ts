/**
 * CRC-32 (IEEE 802.3), which tells a whole record from a torn or damaged one.
 *
 * @module
 */

let loaded: typeof import("node:zlib") | undefined;

/** An import would load the module at every start of a program. */
function builtin(): typeof import("node:zlib") {
  // deno-lint-ignore no-process-global -- likewise
  return loaded ??= process.getBuiltinModule("node:zlib");
}

/** CRC-32 of bytes that follow those of which `seed` is the CRC-32. */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return builtin().crc32(bytes, seed);
}
