/**
 * Names every JSR package of the project. It is never run: the launcher asks
 * whether all that it imports, here and beneath, is in Deno's cache already.
 *
 * @module
 */

import "@db/sqlite";
import "@std/assert";
import "@std/cli/unstable-progress-bar";
import "@std/path";
