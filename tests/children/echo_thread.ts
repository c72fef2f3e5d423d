/**
 * A thread that says what it is told, and dies of "die".
 *
 * @module
 */

import { answerAs } from "../../src/async/thread.ts";

/** What the thread is called. */
export const ECHO = "echo";

answerAs(ECHO, async (question: { say: string; after: number }) => {
  await new Promise((resolve) => setTimeout(resolve, question.after));
  if (question.say === "die") throw new Error("as it was told");
  return question.say;
});
