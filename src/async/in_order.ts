/**
 * Work on one thing after another, some of it ahead.
 *
 * @module
 */

/**
 * Maps items in their order, with at most `most` of them under way.
 *
 * @throws What `work` throws for the first item that fails; the reason of
 * `signal` once it is aborted.
 */
export async function* inOrder<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  most: number,
  work: (item: T) => Promise<R>,
  signal?: AbortSignal,
): AsyncGenerator<R> {
  const underWay: Promise<R>[] = [];
  for await (const item of items) {
    signal?.throwIfAborted();
    const result = work(item);
    result.catch(() => {}); // thrown when it is its turn
    underWay.push(result);
    if (underWay.length >= most) yield await underWay.shift()!;
  }
  for (const result of underWay) {
    signal?.throwIfAborted();
    yield await result;
  }
}

/** Gives items until `signal` is aborted, then throws its reason. */
export async function* abortable<T>(
  items: Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  for await (const item of items) {
    signal.throwIfAborted();
    yield item;
  }
}
