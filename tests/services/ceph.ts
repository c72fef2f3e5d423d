/**
 * A small Ceph for the tests: one monitor, three OSDs that keep their objects
 * in memory, and radosgw, which speaks S3. It runs as whoever starts it, on
 * loopback, in a folder of its own, and is up in about ten seconds.
 *
 * ```sh
 * apt-get install --no-install-recommends ceph-mon ceph-osd radosgw
 * deno run -A tests/services/ceph.ts up /tmp/ceph   # POH_TEST_S3=/tmp/ceph
 * deno run -A tests/services/ceph.ts down /tmp/ceph
 * ```
 *
 * @module
 */

import { cephConfig } from "./ceph_config.ts";
import { freePort, isProgram, kill, run, waitFor } from "./processes.ts";
import { type S3Server, startForTests } from "./s3_server.ts";

/** What it takes; `ceph` comes with them. */
const PROGRAMS = ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph"];

const OSDS = [0, 1, 2];

/** Of the one user, known to the tests alone. */
export const CREDENTIALS = {
  accessKeyId: "pohtestkey",
  secretAccessKey: "pohtestsecret",
};

/** Why no Ceph can be started here; null when one can. */
export async function noCeph(): Promise<string | null> {
  if (Deno.build.os !== "linux") return "Ceph runs on Linux";
  for (const program of PROGRAMS) {
    if (!await isProgram(program)) return `${program} is not installed`;
  }
  return null;
}

/**
 * A Ceph for the tests of one file: the one that those who run the tests have
 * started and named by `POH_TEST_S3`, or one that ends with them. Null where
 * there is none to be had, with the reason on stderr.
 *
 * @param isOwn Whether the tests do it harm, so that it must not be another's.
 */
export async function ceph(isOwn = false): Promise<Ceph | null> {
  const named = isOwn ? undefined : namedCeph();
  if (named) return await Ceph.at(named);
  return await startForTests("Ceph", await noCeph(), Ceph.start);
}

function namedCeph(): string | undefined {
  const query = { name: "env", variable: "POH_TEST_S3" } as const;
  return Deno.permissions.querySync(query).state === "granted"
    ? Deno.env.get(query.variable) || undefined
    : undefined;
}

/** A running Ceph. */
export class Ceph implements S3Server {
  readonly credentials = CREDENTIALS;
  readonly #conf: string;

  private constructor(
    /** The folder with all that it has. */
    readonly dir: string,
    /** The port of radosgw on 127.0.0.1. */
    readonly port: number,
  ) {
    this.#conf = `${dir}/ceph.conf`;
  }

  /** Where radosgw answers. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The one that runs in a folder. */
  static async at(dir: string): Promise<Ceph> {
    const conf = await Deno.readTextFile(`${dir}/ceph.conf`);
    return new Ceph(dir, Number(/endpoint=127\.0\.0\.1:(\d+)/.exec(conf)![1]));
  }

  /** Starts one; its folder must not be there yet. */
  static async start(dir: string): Promise<Ceph> {
    const ceph = new Ceph(dir, freePort());
    await ceph.#make();
    try {
      await ceph.#startMonitor();
      await Promise.all(OSDS.map((n) => ceph.#makeOsd(n)));
      await waitFor(
        "the OSDs",
        async () => (await ceph.#ceph("osd", "stat")).includes("3 up"),
      );
      await ceph.startGateway();
      await ceph.#makeUser();
    } catch (error) {
      await ceph.stop();
      throw error;
    }
    return ceph;
  }

  /** Starts radosgw, and waits until it answers. */
  async startGateway(): Promise<void> {
    await this.#run("radosgw", "-n", "client.rgw");
    await waitFor("radosgw", async () => {
      const response = await fetch(this.endpoint);
      await response.body?.cancel();
      return response.ok;
    });
  }

  /** Ends radosgw, as the out-of-memory killer does. */
  async killGateway(): Promise<void> {
    await this.#kill("client.rgw");
  }

  /** Ends one of the OSDs in the same way. What it had in memory is lost. */
  async killOsd(n: number): Promise<void> {
    await this.#kill(`osd.${n}`);
  }

  /** Starts an OSD again, empty; the others fill it. */
  async restartOsd(n: number): Promise<void> {
    await Deno.remove(`${this.dir}/osd.${n}`, { recursive: true });
    const uuid = (await this.#ceph("osd", "dump", "--format=json"))
      .match(new RegExp(`"osd":${n},"uuid":"([0-9a-f-]+)"`))![1]!;
    await this.#startOsd(n, uuid);
    await waitFor(
      "the OSD",
      async () => (await this.#ceph("osd", "stat")).includes("3 up"),
    );
  }

  /** Ends all of it; the folder stays. */
  async stop(): Promise<void> {
    const names = ["client.rgw", ...OSDS.map((n) => `osd.${n}`), "mon.a"];
    for (const name of names) await this.#kill(name);
  }

  /** Stops, and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.dir, { recursive: true });
  }

  async #make(): Promise<void> {
    for (const name of ["", "mon", "log", "run", "rgw"]) {
      await Deno.mkdir(`${this.dir}/${name}`, { recursive: true });
    }
    const config = cephConfig(this.dir, this.port, freePort());
    await Deno.writeTextFile(this.#conf, config);
    const caps: Record<string, string[]> = {
      "mon.": ["mon", "allow *"],
      "client.admin": ["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
      "client.rgw": ["mon", "allow rw", "osd", "allow rwx"],
    };
    for (const n of OSDS) {
      caps[`osd.${n}`] = ["mon", "allow profile osd", "osd", "allow *"];
    }
    for (const [name, pairs] of Object.entries(caps)) {
      const flags = pairs.map((part, n) => n % 2 ? [part] : ["--cap", part]);
      const args = ["--gen-key", "-n", name, ...flags.flat()];
      const create = name === "mon." ? ["--create-keyring"] : [];
      await run("ceph-authtool", [`${this.dir}/keyring`, ...create, ...args]);
    }
  }

  async #startMonitor(): Promise<void> {
    const conf = await Deno.readTextFile(this.#conf);
    const address = /mon host = (.*)/.exec(conf)![1]!;
    const fsid = /fsid = (.*)/.exec(conf)![1]!;
    const map = `${this.dir}/monmap`;
    await run("monmaptool", [
      "--create",
      "--addv",
      "a",
      address,
      "--fsid",
      fsid,
      map,
    ]);
    await this.#run("ceph-mon", "--mkfs", "-i", "a", "--monmap", map);
    await this.#run("ceph-mon", "-i", "a");
  }

  async #makeOsd(n: number): Promise<void> {
    const uuid = crypto.randomUUID();
    await this.#ceph("osd", "new", uuid, `${n}`);
    await this.#startOsd(n, uuid);
  }

  async #startOsd(n: number, uuid: string): Promise<void> {
    await Deno.mkdir(`${this.dir}/osd.${n}`);
    await this.#run("ceph-osd", "-i", `${n}`, "--mkfs", "--osd-uuid", uuid);
    await this.#run("ceph-osd", "-i", `${n}`);
  }

  async #makeUser(): Promise<void> {
    await this.#run(
      "radosgw-admin",
      "user",
      "create",
      "--uid=poh",
      "--display-name=poh",
      `--access-key=${this.credentials.accessKeyId}`,
      `--secret-key=${this.credentials.secretAccessKey}`,
    );
  }

  #ceph(...args: string[]): Promise<string> {
    return this.#run("ceph", "--connect-timeout=10", ...args);
  }

  #run(program: string, ...args: string[]): Promise<string> {
    return run(program, ["-c", this.#conf, ...args]);
  }

  async #kill(name: string): Promise<void> {
    await kill(`${this.dir}/run/${name}.pid`);
  }
}

if (import.meta.main) {
  const [command, dir] = Deno.args;
  if (command === "up" && dir) {
    const { endpoint } = await Ceph.start(dir);
    console.log(`export POH_TEST_S3=${dir} # ${endpoint}`);
  } else if (command === "down" && dir) {
    await using _ceph = await Ceph.at(dir);
  } else {
    console.error("usage: ceph.ts up|down <folder>");
    Deno.exit(2);
  }
}
