/**
 * Waits for a disk on this thread as long as it answers at once: to have another
 * thread wait takes longer than such a disk.
 *
 * @module
 */

/** A disk that is waited for without leaving the thread, in ms. */
const FAST_DISK = 1;

/** How long the disk took when it was waited for last. */
export class DiskWait {
  #isFast = false;

  /** Waits by one of two ways to do the same. */
  async wait(here: () => void, elsewhere: () => Promise<void>): Promise<void> {
    const start = performance.now();
    if (this.#isFast) here();
    else await elsewhere();
    this.#isFast = performance.now() - start < FAST_DISK;
  }
}
