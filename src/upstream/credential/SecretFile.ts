/**
 * Follows a file with a credential in it: looks at it at most once a second, when a turn asks, and reads it if it
 * changed.
 *
 * While it can't be read, what it held before stays in force. A file that is open to other users of the machine is
 * refused, unless another program keeps it and decides who may read it.
 */
import type { FileSystem } from "effect"
import { Effect, Schema, Semaphore } from "effect"
import { gone, isOpenToOthers, LastLook, lookAt, readText, whyUnread } from "../../config/Files.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import { TurnError } from "../../turn/TurnError.ts"

/**
 * Why a file can't be used. `message` names the path and never what is in the file. `isAbsent`: there is nothing in it
 * that could be wrong, since it is not there, or empty.
 */
export class SecretFileError extends Schema.TaggedError<SecretFileError>()("SecretFileError", {
  message: Schema.String,
  isAbsent: Schema.Boolean,
}) {}

/** The failure of a turn that has no credential: nothing was sent, and the error holds no secret. */
export const unavailable = (message: string) =>
  new TurnError({ reason: "credential_unavailable", delivery: "NotSent", message })

/** The failure of a turn whose credential a person has yet to make; `message` says how. */
export const missing = (message: string) =>
  new TurnError({ reason: "credential_missing", delivery: "NotSent", message })

export interface SecretFile<A> {
  /** What the file holds. */
  readonly current: Effect.Effect<A, SecretFileError>
  /** Has the file looked at before the next use, however recently that was done. */
  readonly lookAgain: () => void
  /** This process wrote the file, which holds `value` now. */
  readonly wrote: (value: A) => Effect.Effect<void>
}

export interface FollowOptions<A> {
  /** Undefined: the text is not what was expected. */
  readonly parse: (text: string) => A | undefined
  /** Whether a text that is not what was expected holds nothing yet. Default: it never does. */
  readonly isEmpty?: (text: string) => boolean
  /** What the file should be, for the error. */
  readonly expected: string
  /** True: another program keeps it and decides who may read it. */
  readonly mayBeOpen: boolean
}

export const followFile = <A>(
  fs: FileSystem.FileSystem,
  path: string,
  { expected, isEmpty, mayBeOpen, parse }: FollowOptions<A>,
): SecretFile<A> => {
  const one = Semaphore.makeUnsafe(1)
  let held: { readonly value: A } | undefined
  let seen = ""
  const lastLook = new LastLook()

  const fail = (what: string, isAbsent = false) => new SecretFileError({ message: `${path} ${what}`, isAbsent })

  const read = Effect.gen(function* () {
    const { mode, stamp } = yield* lookAt(fs, path)
    if (stamp === gone.stamp) return yield* fail("can't be read", true)
    if (stamp === seen && held !== undefined) return held.value
    if (!mayBeOpen && isOpenToOthers(mode)) {
      return yield* fail("is open to other users of this machine: run `chmod 600` on it")
    }
    const text = yield* Effect.mapError(readText(fs, path), (error) => fail(whyUnread(error)))
    const value = parse(text)
    if (value === undefined) return yield* fail(`is not ${expected}`, isEmpty?.(text) === true)
    seen = stamp
    held = { value }
    return value
  })

  const look = Effect.gen(function* () {
    const now = yield* monotonicMillis
    // Another turn may have looked while this one waited for its permit.
    if (held !== undefined && !lastLook.isDue(now)) return held.value
    lastLook.was(now)
    const before = held
    if (before === undefined) return yield* read
    return yield* read.pipe(
      Effect.catchTag("SecretFileError", ({ message }) =>
        Effect.as(Effect.logWarning(`${message}; what was read before stays in force`), before.value),
      ),
    )
  }).pipe(Semaphore.withPermit(one))

  const current = Effect.flatMap(monotonicMillis, (now) =>
    held !== undefined && !lastLook.isDue(now) ? Effect.succeed(held.value) : look,
  )

  return {
    current,
    lookAgain: () => lastLook.forget(),
    wrote: (value) =>
      Effect.gen(function* () {
        held = { value }
        seen = (yield* lookAt(fs, path)).stamp
        // The permit makes this wait for a look that is under way: it may have read what was there before.
      }).pipe(Semaphore.withPermit(one)),
  }
}
