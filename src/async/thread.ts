/**
 * Other threads of this process, for what would keep the event loop waiting.
 *
 * A thread's module is imported by those who start it as well, so that it is in
 * every cache and every compiled program; it acts only where it was started.
 *
 * @module
 */

/** A thread that is asked things and answers them, in the order of asking. */
export class Thread<Question, Answer> implements Disposable {
  readonly #worker: Worker;
  readonly #asked = new Map<number, (answer: Answer | null) => void>();
  #count = 0;
  /** Whether it answers nothing any more. */
  hasDied = false;

  private constructor(module: URL, name: string) {
    this.#worker = new Worker(module, { type: "module", name });
    this.#worker.onmessage = ({ data }) => this.#settle(data.id, data.answer);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.hasDied = true;
      for (const id of this.#asked.keys()) this.#settle(id, null);
    };
  }

  /**
   * Starts one, with the permissions of this thread; null where it may not load
   * its module, or there is none, as beside a program bundled into one file.
   * Both are looked at first, as Deno tells a failure on stderr.
   */
  static async start<Question, Answer>(
    module: URL,
    name: string,
  ): Promise<Thread<Question, Answer> | null> {
    const found = new URL(import.meta.resolve(module.href)); // by an import map
    const permission: Deno.PermissionDescriptor = found.protocol === "file:"
      ? { name: "read", path: found }
      : { name: "import", host: found.host };
    const { state } = await Deno.permissions.query(permission);
    return state === "granted" && isThere(found)
      ? new Thread(module, name)
      : null;
  }

  /**
   * Asks it something.
   *
   * @param transfer Buffers that become the thread's.
   * @returns Its answer; null when it has died, or the signal came first.
   */
  ask(
    question: Question,
    { signal, transfer = [] }: {
      signal?: AbortSignal | undefined;
      transfer?: Transferable[];
    } = {},
  ): Promise<Answer | null> {
    if (this.hasDied || signal?.aborted) return Promise.resolve(null);
    const { promise, resolve } = Promise.withResolvers<Answer | null>();
    const id = this.#count++;
    this.#asked.set(id, resolve);
    this.#worker.postMessage({ id, question }, transfer);
    if (!signal) return promise;
    const stop = () => this.#settle(id, null);
    signal.addEventListener("abort", stop);
    return promise.finally(() => signal.removeEventListener("abort", stop));
  }

  /** Ends it, whatever it does. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  #settle(id: number, answer: Answer | null): void {
    this.#asked.get(id)?.(answer);
    this.#asked.delete(id);
  }
}

/** Whether a module is there, as far as that is seen on this machine. */
function isThere(module: URL): boolean {
  if (module.protocol !== "file:") return true;
  try {
    return Deno.statSync(module).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** In a thread's module: how it answers, where it was started by this name. */
export function answerAs<Question, Answer>(
  name: string,
  answer: (question: Question) => Answer | Promise<Answer>,
): void {
  const thread = globalThis as unknown as Worker & { name?: string };
  if (thread.name !== name) return;
  thread.onmessage = async ({ data: { id, question } }) =>
    thread.postMessage({ id, answer: await answer(question) });
}
