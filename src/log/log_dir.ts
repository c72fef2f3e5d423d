/**
 * The folder of the log, `<base>/.poh/log/`: its segments, and `state`, in which
 * live writers tell each other which segment is the newest, whether the disk has
 * failed, whether a checkpoint is under way and that one more joins, and readers
 * which saves have resolved. Nobody relies on `state` after a crash: whoever is
 * the first writer then writes it anew.
 *
 * @module
 */

import { join } from "@std/path";
import {
  makeDir,
  readAllSync,
  regularSize,
  removeFileSync,
  replaceFile,
  syncDir,
} from "../files/durable_fs.ts";
import {
  encodeHeader,
  offsetOf,
  Segment,
  type SegmentHeader,
  segmentOf,
  storeTag,
} from "./segment.ts";

const SEGMENT_NAME = /^(\d{8,})\.seg$/;

/** What live writers tell each other. */
export interface LogState {
  /** Whether a sync has failed: what was written since is not to be trusted. */
  hasFailed: boolean;
  /**
   * Whether a checkpoint is under way. Where nobody holds the lock of
   * checkpoints, whoever did has died, and may have been the only one to know
   * that the disk refused something.
   */
  isCheckpointing: boolean;
  /** The number of the newest segment, or one that was about to be made. */
  newest: number;
  /** How often a writer has joined. */
  joins: number;
  /**
   * Saves up to this position have resolved, whether or not their rows are in
   * the database yet: for readers beside a writer that is alone.
   */
  resolved: number;
}

/** The folder of a store's log. */
export class LogDir implements Disposable {
  /** Its path. */
  readonly path: string;
  readonly #sync: boolean;
  readonly #write: boolean;
  readonly #open = new Map<number, Segment>();
  #state: Deno.FsFile | null = null;
  /** The id of the store whose segments these are; null: not known yet. */
  #storeId: string | null = null;

  /**
   * The folder of the store at `basePath`; touches nothing yet.
   *
   * @param options `sync`: whether to wait for the disk; `write`: whether
   * segments are opened to be written to.
   */
  constructor(
    basePath: string,
    options: { sync: boolean; write: boolean },
  ) {
    this.path = logPath(basePath);
    this.#sync = options.sync;
    this.#write = options.write;
  }

  /** Makes the folder; harmless when it is there. */
  async init(): Promise<void> {
    await makeDir(this.path, this.#sync);
  }

  /** From now on segments that another store has written are not read. */
  belongTo(storeId: string): void {
    this.#storeId = storeId;
    for (const number of [...this.#open.keys()]) this.forget(number);
  }

  /** Whether another store has written a segment: it was copied here. */
  isForeign(number: number): boolean {
    if (this.#open.has(number)) return false;
    const header = Segment.headerOf(this.pathOf(number));
    return header !== null && !this.#isOwn(header);
  }

  #isOwn({ storeId }: SegmentHeader): boolean {
    return this.#storeId === null || storeId === this.#storeId ||
      storeId === storeTag(""); // written before the store had an id
  }

  /**
   * The id that the headers of segments tell, as `storeTag` gives it: that of
   * most of them; null where none tells one.
   */
  storeId(): string | null {
    const counts = new Map<string, number>();
    for (const number of this.numbers()) {
      const id = Segment.headerOf(this.pathOf(number))?.storeId;
      if (id === undefined || id === storeTag("")) continue;
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    const [most = null] = [...counts].sort(([, a], [, b]) => b - a);
    return most && most[0];
  }

  /** Whether there is a log. */
  exists(): boolean {
    return this.numbers().length > 0;
  }

  /** The numbers of the segments, oldest first; none where there is no folder. */
  numbers(): number[] {
    const numbers: number[] = [];
    try {
      for (const { name, isFile } of Deno.readDirSync(this.path)) {
        const match = SEGMENT_NAME.exec(name);
        if (isFile && match) numbers.push(Number(match[1]));
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    // An open file keeps its room on the disk.
    for (const number of this.#open.keys()) {
      if (!numbers.includes(number)) this.forget(number);
    }
    return numbers.sort((a, b) => a - b);
  }

  /** Path of a segment. */
  pathOf(number: number): string {
    return join(this.path, `${String(number).padStart(8, "0")}.seg`);
  }

  /**
   * An open segment; null where there is none, or none with a sound header, or
   * another store's.
   */
  segment(number: number): Segment | null {
    let segment = this.#open.get(number) ?? null;
    if (segment) return segment;
    try {
      segment = Segment.open(this.pathOf(number), number, this.#write);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    if (segment && !this.#isOwn(segment.header)) {
      segment[Symbol.dispose]();
      return null;
    }
    if (segment) this.#open.set(number, segment);
    return segment;
  }

  /**
   * Bytes of a segment, whatever its header says: to check that needs a module
   * that takes longer to load than all else of a start.
   */
  peek(number: number, offset: number, length: number): Uint8Array {
    try {
      using file = Deno.openSync(this.pathOf(number), { read: true });
      file.seekSync(offset, Deno.SeekMode.Start);
      return readAllSync(file, length);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return new Uint8Array();
    }
  }

  /** Lets go of an open segment, which may have been replaced. */
  forget(number: number): void {
    this.#open.get(number)?.[Symbol.dispose]();
    this.#open.delete(number);
  }

  /**
   * Makes a segment, durably, under its name only once it is whole. One of that
   * number that is there is replaced. Waits for the disk in any case: those who
   * write to it do not know who made it.
   */
  async create(header: SegmentHeader): Promise<Segment> {
    const tmp = join(this.path, `${crypto.randomUUID()}.tmp`);
    const path = this.pathOf(header.number);
    await replaceFile(path, encodeHeader(header), tmp, true);
    this.forget(header.number);
    return this.segment(header.number)!;
  }

  /** Removes a segment. */
  drop(number: number): void {
    this.forget(number);
    removeFileSync(this.pathOf(number));
  }

  /** Removes what was half made when its process died. Only while alone. */
  clearLeftovers(): void {
    for (const { name } of Deno.readDirSync(this.path)) {
      if (name.endsWith(".tmp")) removeFileSync(join(this.path, name));
    }
  }

  /**
   * Writes a part of a segment again as it looks, and waits for the disk: whoever
   * wrote it may have died before it learned that the disk refused it, and memory
   * shows it all the same.
   *
   * @param from A position.
   * @param to A position in the same segment.
   */
  async writeAgain(from: number, to: number): Promise<void> {
    const segment = this.segment(segmentOf(from));
    if (!segment || !this.#sync || to <= from) return;
    segment.write(offsetOf(from), segment.read(offsetOf(from), to - from));
    await segment.sync();
  }

  /** Waits until the names of segments are on the disk. */
  async syncNames(): Promise<void> {
    if (this.#sync) await syncDir(this.path);
  }

  /** What live writers have told. */
  state(): LogState {
    return readState(this.#stateFile());
  }

  /** As `state`, for whoever only reads: there may be none. */
  peekState(): LogState {
    try {
      using file = Deno.openSync(join(this.path, STATE_NAME), { read: true });
      return readState(file);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return readState(null);
    }
  }

  /**
   * Tells live writers, and readers beside them. Each field is written by itself:
   * a checkpoint goes on beside the turn of another process, and neither may undo
   * what the other says.
   */
  setState(change: Partial<LogState>): void {
    const { hasFailed, isCheckpointing, newest, joins, resolved } = change;
    if (hasFailed !== undefined) this.#tell(0, new Uint32Array([+hasFailed]));
    if (isCheckpointing !== undefined) {
      this.#tell(4, new Uint32Array([+isCheckpointing]));
    }
    if (newest !== undefined) this.#tell(8, new Float64Array([newest]));
    if (joins !== undefined) this.#tell(16, new Float64Array([joins]));
    if (resolved !== undefined) this.#tell(24, new Float64Array([resolved]));
  }

  #tell(at: number, value: Uint32Array | Float64Array): void {
    const file = this.#stateFile();
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array(value.buffer));
  }

  /** For when nobody is left to be told. */
  clearState(): void {
    this.#state?.close();
    this.#state = null;
    removeFileSync(join(this.path, STATE_NAME));
  }

  [Symbol.dispose](): void {
    for (const segment of this.#open.values()) segment[Symbol.dispose]();
    this.#open.clear();
    this.#state?.close();
    this.#state = null;
  }

  #stateFile(): Deno.FsFile {
    if (this.#state) return this.#state;
    const path = join(this.path, STATE_NAME);
    regularSize(path); // no link to elsewhere
    return this.#state = Deno.openSync(path, {
      read: true,
      write: true,
      create: true,
    });
  }
}

const STATE_NAME = "state";
const STATE_BYTES = 32;

function readState(file: Deno.FsFile | null): LogState {
  const bytes = new Uint8Array(STATE_BYTES);
  file?.seekSync(0, Deno.SeekMode.Start);
  if (file) bytes.set(readAllSync(file, STATE_BYTES));
  const view = new DataView(bytes.buffer);
  return {
    hasFailed: view.getUint32(0, true) !== 0,
    isCheckpointing: view.getUint32(4, true) !== 0,
    newest: view.getFloat64(8, true),
    joins: view.getFloat64(16, true),
    resolved: view.getFloat64(24, true),
  };
}

/** Where the log of a store is. */
function logPath(basePath: string): string {
  return join(basePath, ".poh", "log");
}
