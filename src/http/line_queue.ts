/**
 * Lines of an answer that come by themselves, and not when they are asked for.
 *
 * @module
 */

/** So many characters wait for the client; then whoever adds them waits. */
const MOST_UNTAKEN = 1024 * 1024;

/** Lines that wait until the client takes them. */
export class LineQueue {
  #text = "";
  #hasEnded = false;
  #isGivenUp = false;
  #onChange = Promise.withResolvers<void>();

  /** One more. */
  add(text: string): void {
    this.#text += text;
    this.#tell();
  }

  /** There are no more. */
  end(): void {
    this.#hasEnded = true;
    this.#tell();
  }

  /** The client is gone. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.#tell();
  }

  /** Waits until enough is taken; false when nobody takes anything any more. */
  async taken(): Promise<boolean> {
    while (!this.#isGivenUp && this.#text.length > MOST_UNTAKEN) {
      await this.#onChange.promise;
    }
    return !this.#isGivenUp;
  }

  /** All of them, as many at a time as there are. */
  async *texts(): AsyncGenerator<string> {
    while (true) {
      while (this.#text === "" && !this.#hasEnded) {
        await this.#onChange.promise;
      }
      if (this.#text === "") return;
      const text = this.#text;
      this.#text = "";
      this.#tell();
      yield text;
    }
  }

  #tell(): void {
    const { resolve } = this.#onChange;
    this.#onChange = Promise.withResolvers();
    resolve();
  }
}
