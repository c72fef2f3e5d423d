/**
 * A small OpenStack Swift for the tests: a proxy that speaks S3 in Swift's way,
 * and one server each that keeps accounts, containers and objects. It runs as
 * whoever starts it, on loopback, in a folder of its own, and is up in about
 * two seconds.
 *
 * ```sh
 * apt-get install --no-install-recommends swift-proxy swift-account swift-container swift-object
 * ```
 *
 * @module
 */

import {
  freePort,
  isProgram,
  kill,
  run,
  runInBackground,
  waitFor,
} from "./processes.ts";
import { type S3Server, startForTests } from "./s3_server.ts";
import {
  CREDENTIALS,
  KEEPERS,
  swiftConfig,
  type SwiftServer,
} from "./swift_config.ts";

const SERVERS = ["proxy", ...KEEPERS] as const;

/** It keeps what it knows of an object with the file that holds it. */
const SET_ATTRIBUTE = `
import os, sys

os.setxattr(sys.argv[1], "user.poh", b"1")
`;

/**
 * A Swift for the tests of one file, which ends with them. Null where there is
 * none to be had, with the reason on stderr.
 */
export async function swift(): Promise<Swift | null> {
  return await startForTests("Swift", await noSwift(), Swift.start);
}

/** Why no Swift can be started here; null when one can. */
export async function noSwift(): Promise<string | null> {
  if (Deno.build.os !== "linux") return "Swift runs on Linux";
  for (const program of SERVERS.map(programOf)) {
    if (!await isProgram(program)) {
      return `${program} is not installed, or may not be run`;
    }
  }
  const file = await Deno.makeTempFile({ prefix: "poh-swift-" });
  try {
    await run("python3", ["-c", SET_ATTRIBUTE, file]);
    return null;
  } catch {
    return "the folder for temporary files has no extended attributes";
  } finally {
    await Deno.remove(file);
  }
}

/** A running Swift. */
export class Swift implements S3Server {
  readonly credentials = CREDENTIALS;
  readonly #ports: Record<SwiftServer, number>;

  private constructor(
    /** The folder with all that it has. */
    readonly dir: string,
  ) {
    this.#ports = {
      proxy: freePort(),
      account: freePort(),
      container: freePort(),
      object: freePort(),
    };
  }

  /** The port of its proxy on 127.0.0.1. */
  get port(): number {
    return this.#ports.proxy;
  }

  /** Where its proxy answers. */
  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Starts one in an empty folder. */
  static async start(dir: string): Promise<Swift> {
    const swift = new Swift(dir);
    await swift.#make();
    try {
      await Promise.all(SERVERS.map((server) => swift.#start(server)));
    } catch (error) {
      await swift.stop();
      throw error;
    }
    return swift;
  }

  /** Starts the proxy. */
  async startGateway(): Promise<void> {
    await this.#start("proxy");
  }

  /** Ends the proxy, as the out-of-memory killer does. */
  async killGateway(): Promise<void> {
    await kill(this.#file("proxy", "pid"));
  }

  /** Ends all of it; the folder stays. */
  async stop(): Promise<void> {
    for (const server of SERVERS) await kill(this.#file(server, "pid"));
  }

  /** Stops, and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await Deno.remove(this.dir, { recursive: true });
  }

  async #make(): Promise<void> {
    const { dir } = this;
    await Deno.mkdir(`${dir}/devices/disk`, { recursive: true });
    const user = (await run("id", ["-un"])).trim();
    for (const server of SERVERS) {
      const port = this.#ports[server];
      await Deno.writeTextFile(
        this.#file(server, "conf"),
        swiftConfig(server, { dir, port, user }),
      );
    }
    await Promise.all(KEEPERS.map((server) => this.#makeRing(server)));
  }

  /** Where things are kept: of each kind on one disk, in one copy. */
  async #makeRing(server: SwiftServer): Promise<void> {
    const file = this.#file(server, "builder");
    const device = `r1z1-127.0.0.1:${this.#ports[server]}/disk`;
    await run("swift-ring-builder", [file, "create", "4", "1", "1"]);
    await run("swift-ring-builder", [file, "add", device, "1"]);
    await run("swift-ring-builder", [file, "rebalance"]);
  }

  /** Starts one of its servers, and waits until it takes requests. */
  async #start(server: SwiftServer): Promise<void> {
    await runInBackground(
      { pid: this.#file(server, "pid"), log: this.#file(server, "log") },
      programOf(server),
      [this.#file(server, "conf")],
    );
    await waitFor(programOf(server), async () => {
      const port = this.#ports[server];
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    });
  }

  #file(server: SwiftServer, extension: string): string {
    return `${this.dir}/${server}.${extension}`;
  }
}

function programOf(server: SwiftServer): string {
  return `swift-${server}-server`;
}
