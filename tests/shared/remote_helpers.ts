/**
 * What the tests of stores that machines share have in common: such a store
 * without a server, of a folder and a database, which the program itself keeps
 * by its local engine.
 *
 * @module
 */

import { join } from "@std/path";
import { FileObjects } from "../../src/shared/file_objects.ts";
import { RemoteEngine } from "../../src/shared/engine.ts";
import type { RemoteOptions } from "../../src/shared/engine.ts";
import { SqliteCatalog } from "../../src/shared/sqlite_catalog.ts";
import { type TempDir, tempDir } from "../helpers.ts";

/** A node: an engine and the parts that it works on. */
export interface Node extends AsyncDisposable {
  /** The engine. */
  engine: RemoteEngine;
  /** Its payloads. */
  objects: FileObjects;
  /** Its metadata. */
  catalog: SqliteCatalog;
  /** Closes the engine. */
  close(): Promise<void>;
}

/** A store without a server, opened by as many nodes as a test likes. */
export class SharedStore implements AsyncDisposable {
  readonly #dir: TempDir;
  readonly #nodes: Node[] = [];

  private constructor(dir: TempDir) {
    this.#dir = dir;
  }

  /** Makes a store with no node yet. */
  static async make(): Promise<SharedStore> {
    return new SharedStore(await tempDir());
  }

  /** Folder of the objects. */
  get base(): string {
    return this.#dir.join("base");
  }

  /** The database. */
  get db(): string {
    return this.#dir.join("catalog.db");
  }

  /** Path of an object. */
  path(key: string): string {
    return join(this.base, ...key.split("/"));
  }

  /** Opens one more node. */
  async node(options: RemoteOptions = {}): Promise<Node> {
    const objects = new FileObjects(this.base, { sync: false });
    await objects.init();
    const catalog = await SqliteCatalog.open(this.db, {
      driver: "builtin",
      sync: false,
    });
    await catalog.init();
    const { driver } = catalog;
    const engine = new RemoteEngine({ objects, catalog, driver }, options);
    let isOpen = true;
    const close = async () => {
      if (isOpen) await engine.close();
      isOpen = false;
    };
    const node = {
      engine,
      objects,
      catalog,
      close,
      [Symbol.asyncDispose]: close,
    };
    this.#nodes.push(node);
    return node;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes) await node.close();
    await this.#dir[Symbol.asyncDispose]();
  }
}

/** The keys of all objects of a node's store, sorted; it may be closed. */
export async function keysOf({ objects }: Pick<Node, "objects">) {
  const all = new FileObjects(objects.url).list();
  return (await Array.fromAsync(all, ({ key }) => key)).sort();
}
