/**
 * How transactions are saved: digested, and given to the log.
 *
 * @module
 */

import { crashPoint } from "../async/crash_points.ts";
import { infoOf, type StreamDemands } from "../engine.ts";
import { IntegrityError } from "../errors.ts";
import { sha256HexSync } from "../files/hash.ts";
import type { IfExists, IfMatch, SavedTx } from "../model/if_exists.ts";
import { because, type Why } from "../log/why.ts";
import { HashedOnTheWay } from "./hashed_on_the_way.ts";
import { saving, type StoreWriter } from "./open_store.ts";
import type { TxHead } from "../types.ts";
import type { PayloadFiles } from "../payloads/payload_files.ts";

/** The saves of one engine, those of one id in the order of their calls. */
export class Saves {
  readonly #files: PayloadFiles;
  /**
   * Large payloads on their way to the disk: later changes of their ids wait,
   * so that the changes of one id keep the order of their calls.
   */
  readonly #staging = new Map<string, Promise<void>>();

  /** None yet. */
  constructor(files: PayloadFiles) {
    this.#files = files;
  }

  /** Waits until the saves of an id under way have their place in the log. */
  async placed(txId: string): Promise<void> {
    const staging = this.#staging.get(txId);
    if (staging) await staging;
  }

  /** Saves a small payload. */
  async saveSmall(
    writer: StoreWriter,
    head: TxHead,
    payload: Uint8Array,
    rule: IfExists,
    ifMatch?: IfMatch,
  ): Promise<SavedTx> {
    const info = infoOf(head, sha256HexSync(payload), payload.length);
    await this.placed(head.txId);
    const how = { payload, isPacked: writer.packBelow.covers(payload.length) };
    return await writer.queue.save({ entry: saving(info, how), ifMatch }, rule);
  }

  /**
   * Saves a payload that is staged first, for it is large or comes in pieces.
   *
   * @param demands What it has to be; `why`: where it is no ordinary save.
   * @throws {IntegrityError} If the payload is not the expected one.
   */
  async saveStaged(
    writer: StoreWriter,
    head: TxHead,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    rule: IfExists,
    { expected, ifMatch, why }: StreamDemands & { why?: Why } = {},
  ): Promise<SavedTx> {
    const files = this.#files;
    const { txId } = head;
    const earlier = this.#staging.get(txId);
    const submitted = Promise.withResolvers<void>();
    this.#staging.set(txId, submitted.promise);
    try {
      const hashing = writer.tlog.isOn ? new HashedOnTheWay(chunks) : null;
      const { name, digest, size } = await files.staged.add(hashing ?? chunks)
        .catch((error) => {
          throw writer.queue.moved() ?? error;
        });
      crashPoint("payload staged");
      if (expected !== undefined && digest !== expected) {
        files.staged.remove(name);
        throw new IntegrityError(txId, expected, digest);
      }
      await earlier;
      const info = infoOf(head, digest, size);
      const how = writer.packBelow.covers(size)
        ? { payload: await files.staged.take(name), isPacked: true }
        : { staged: name };
      const entry = saving(info, how);
      if (hashing && entry.kind === "put-staged") {
        entry.extensions = [hashing.extension()];
      }
      const change = { entry: why ? because(entry, why) : entry, ifMatch };
      const committed = writer.queue.save(change, rule);
      submitted.resolve();
      return await committed;
    } finally {
      submitted.resolve();
      if (this.#staging.get(txId) === submitted.promise) {
        this.#staging.delete(txId);
      }
    }
  }
}
