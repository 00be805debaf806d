/**
 * Looks at the files that settings name and replaces them: `respool.json`, the keys, the credentials.
 *
 * A file is followed by its stamp, at most once a second. Nothing is asked of the system's own watching, which tells
 * nothing of a file on many mounts and loses one that is replaced.
 */
import { Effect, Option } from "effect"
import type { FileSystem } from "effect"
import { randomBytes } from "node:crypto"

/** How a file looks from outside. */
export interface Look {
  /** Another one after each change of the file or of who may open it, and when another takes its place. */
  readonly stamp: string
  readonly mode: number
}

/** Stands for a file that isn't there, or can't be looked at. */
export const gone: Look = { stamp: "gone", mode: 0 }

export const lookAt = (fs: FileSystem.FileSystem, path: string): Effect.Effect<Look> =>
  fs.stat(path).pipe(
    Effect.map(({ ino, mode, mtime, size }) => ({
      stamp: [Option.getOrUndefined(ino), Option.getOrUndefined(mtime)?.getTime(), mode, size].join(" "),
      mode,
    })),
    Effect.orElseSucceed(() => gone),
  )

/** Between two looks at a file, in milliseconds. */
export const lookEvery = 1_000

/** When a file was looked at last. Times are in milliseconds. */
export class LastLook {
  #at = Number.NEGATIVE_INFINITY

  /** Whether `pause` has gone by. A clock that was set back by more has gone far enough, too. */
  isDue(now: number, pause = lookEvery): boolean {
    return Math.abs(now - this.#at) >= pause
  }

  was(now: number) {
    this.#at = now
  }

  /** The next look is due at once. */
  forget() {
    this.#at = Number.NEGATIVE_INFINITY
  }
}

/** Whether other users of the machine may read or write it. */
export const isOpenToOthers = (mode: number): boolean => (mode & 0o077) !== 0

/** Whole or not at all: a reader finds the text before or the new one, also after the machine went down. For its owner alone. */
export const replaceFile = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, path: string, text: string) {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`
  yield* Effect.scoped(
    Effect.gen(function* () {
      const file = yield* fs.open(temporary, { flag: "wx", mode: 0o600 })
      yield* file.writeAll(new TextEncoder().encode(text))
      yield* file.sync
    }),
  ).pipe(
    Effect.andThen(fs.rename(temporary, path)),
    Effect.onError(() => Effect.ignore(fs.remove(temporary, { force: true }))),
  )
})
