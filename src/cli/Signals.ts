/**
 * Tells whether a signal that follows another one is meant: pure data in, pure data out.
 *
 * Ctrl-C reaches a process from its terminal, and once more from `bun run` or npm, which hand it on.
 */

/** In milliseconds. Nobody presses a key twice as fast. */
const oneKey = 200

/** Whether a signal `after` so many milliseconds is another one; `isHandedOn`: a script's runner hands each on as well. */
export const isAnother = (after: number, isHandedOn: boolean): boolean => !isHandedOn || after >= oneKey
