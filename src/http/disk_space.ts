/**
 * How full the disk is.
 *
 * @module
 */

/** Bytes of a file system. */
export interface DiskSpace {
  /** Bytes that are free for this user. */
  free: number;
  /** All of its bytes. */
  size: number;
}

/**
 * The room of the file system that has a folder; null where that cannot be known.
 * Needs `--allow-sys=statfs`.
 */
export async function diskSpace(path: string): Promise<DiskSpace | null> {
  try {
    const kind = "statfs" as Deno.SysPermissionDescriptor["kind"];
    const { state } = Deno.permissions.querySync({ name: "sys", kind: kind! });
    if (state !== "granted") return null;
    const { statfs } = await import("node:fs/promises");
    const { bavail, blocks, bsize } = await statfs(path);
    return { free: bavail * bsize, size: blocks * bsize };
  } catch {
    return null; // a Deno without it, or no such folder
  }
}
