/**
 * A disk whose power can be cut.
 *
 * The disk is an ext4 image on a loop device, and the image is a file of a
 * second ext4 file system, the host:
 *
 *     memory <- host image <- loop <- ext4 "host" <- disk image <- loop <- ext4
 *
 * What was not synced is in the page cache of the inner file system and not in
 * the disk image: a loop device gets what the file system above it submits, as
 * a disk does. So a copy of the image is what a cut leaves.
 *
 * The copy must be of one moment, else a journal and the blocks that it speaks
 * of could be of different ones. To freeze the inner file system would flush
 * it. Freezing the *host* does not: it stops the writes of the loop device
 * between two requests, in the middle of whatever the file system above was
 * about, until the image has been read.
 *
 * @module
 */

import { join } from "@std/path";
import { type TempDir, tempDir, text } from "../helpers.ts";

const TOOLS = ["mount", "umount", "mkfs.ext4", "fsfreeze", "sync"];

/** Room for what a quick writer leaves between two checkpoints. */
const DISK_BYTES = 96 * 1024 * 1024;

/**
 * Options under which ext4 promises least: names get to the disk without the
 * bytes, often, and a rename flushes nothing.
 */
export const HARSH = "data=writeback,noauto_da_alloc,commit=1";

/** Why there can be no such disk here; null when there can. */
export async function whyNoDisk(): Promise<string | null> {
  for (const command of TOOLS) {
    const { state } = await Deno.permissions.query({ name: "run", command });
    if (state !== "granted") return `--allow-run=${command} is not granted`;
  }
  const dir = await Deno.makeTempDir();
  try {
    await using _disk = await Disk.make(dir);
    return null;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A mounted disk. */
export class Disk implements AsyncDisposable {
  readonly #dir: string;
  readonly #mounts = new AsyncDisposableStack();
  #cuts = 0;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Makes and mounts one below a directory. */
  static async make(dir: string, options = "defaults"): Promise<Disk> {
    const disk = new Disk(dir);
    try {
      await disk.#mount("memory", "-t", "tmpfs", "tmpfs");
      await disk.#makeImage("memory/host.img", 3 * DISK_BYTES);
      await disk.#mount("host", "-o", "loop", join(dir, "memory/host.img"));
      await disk.#makeImage("host/disk.img", DISK_BYTES);
      const image = join(dir, "host/disk.img");
      await disk.#mount("disk", "-o", `loop,${options}`, image);
      return disk;
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where it is mounted. */
  get path(): string {
    return join(this.#dir, "disk");
  }

  /** Brings everything to the disk. */
  async sync(): Promise<void> {
    await command("sync", "--file-system", this.path);
  }

  /**
   * What the disk would have if the power were cut at one moment during this
   * call. The disk goes on.
   */
  async cut(): Promise<Cut> {
    const image = join(this.#dir, `memory/cut-${this.#cuts++}.img`);
    const host = join(this.#dir, "host");
    await command("fsfreeze", "--freeze", host);
    try {
      await Deno.copyFile(join(host, "disk.img"), image);
    } finally {
      await command("fsfreeze", "--unfreeze", host);
    }
    return new Cut(image, join(this.#dir, "after"));
  }

  async #makeImage(name: string, size: number): Promise<void> {
    const path = join(this.#dir, name);
    await Deno.writeFile(path, new Uint8Array());
    await Deno.truncate(path, size);
    await command("mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", path);
  }

  async #mount(name: string, ...args: string[]): Promise<void> {
    const path = join(this.#dir, name);
    await Deno.mkdir(path);
    await command("mount", ...args, path);
    this.#mounts.defer(() => command("umount", path));
  }

  /** Unmounts all of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mounts.disposeAsync();
  }
}

/** What a cut has left. */
export class Cut {
  readonly #image: string;
  readonly #path: string;

  constructor(image: string, path: string) {
    this.#image = image;
    this.#path = path;
  }

  /** Mounts it, as after a restart, looks, and forgets it. */
  async examine<T>(work: (path: string) => Promise<T>): Promise<T> {
    await Deno.mkdir(this.#path, { recursive: true });
    await command("mount", "-o", "loop", this.#image, this.#path);
    try {
      return await work(this.#path);
    } finally {
      await command("umount", this.#path);
      await Deno.remove(this.#image);
    }
  }
}

/**
 * A temporary directory in memory where one can be mounted, for what is written
 * often and soon forgotten; else on the disk.
 */
export async function memoryDir(): Promise<TempDir> {
  const { path } = await tempDir();
  let isMounted = true;
  try {
    await command("mount", "-t", "tmpfs", "tmpfs", path);
  } catch {
    isMounted = false; // not as root, or not on this system
  }
  return {
    path,
    join: (...parts) => join(path, ...parts),
    async [Symbol.asyncDispose]() {
      if (isMounted) await command("umount", path);
      await Deno.remove(path, { recursive: true });
    },
  };
}

/** Runs a program of the system; throws what it says when it fails. */
export async function command(name: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args }).output();
  if (!success) throw new Error(`${name} fails: ${text(stderr).trim()}`);
}
