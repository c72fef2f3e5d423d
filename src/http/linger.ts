/**
 * The end of a connection on which the client is still sending.
 *
 * To close a connection with bytes that nobody has read resets it, and a reset
 * takes away from the client what it has not read yet, on Windows always: it
 * would never see why it was refused. So the service ends its own half, reads on
 * for a moment, and then closes.
 *
 * @module
 */

import type { Socket } from "node:net";

/** How long it reads on, in ms. */
const LINGER = 500;

/** Has a connection end so once its last response is sent. */
export function lingerAtEnd(socket: Socket): void {
  // Node's server calls it then, and would destroy the connection at once.
  socket.destroySoon = () => {
    const timer = setTimeout(() => socket.destroy(), LINGER);
    socket.once("close", () => clearTimeout(timer));
    socket.once("end", () => socket.destroy());
    socket.end();
    socket.resume();
  };
}
