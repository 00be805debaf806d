/**
 * Looks at the files that settings name and replaces them: `respool.json`, the keys, the credentials.
 *
 * What is read is a regular file of bounded size, at the end of links or not: to open a pipe may wait for ever, and a
 * device may never end. A file is followed by its stamp, at most once a second. The system's own watching is not used, since it reports nothing
 * on many mounts and loses a file that is replaced.
 */
import { Effect, Option, PlatformError } from "effect"
import type { FileSystem } from "effect"
import { randomBytes } from "node:crypto"

/** How a file looks from outside. */
export interface Look {
  /** Differs after each change of the file or of its mode, and when another file is put there. */
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

/** In bytes. No file that a setting names has a use for more. */
const largest = 16 * 1024 * 1024

const unusable = (path: string, description: string) =>
  PlatformError.systemError({
    _tag: "BadResource",
    module: "Files",
    method: "readText",
    pathOrDescriptor: path,
    description,
  })

/** Fails at once for what is no regular file, or larger than 16 MiB: `whyUnread` says so. */
export const readText = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, path: string) {
  const { size, type } = yield* fs.stat(path)
  if (type !== "File") return yield* unusable(path, "is no regular file")
  if (size > largest) return yield* unusable(path, "is larger than 16 MiB")
  return yield* fs.readFileString(path)
})

/** What to say of a file that `readText` failed to read. */
export const whyUnread = ({ reason }: PlatformError.PlatformError): string =>
  reason.module === "Files" ? (reason.description ?? "") : "can't be read"

/** A file system on which a text is read as `readText` does. */
export const boundedReads = (fs: FileSystem.FileSystem): FileSystem.FileSystem => ({
  ...fs,
  readFileString: (path) => readText(fs, path),
})

/** Between two looks at a file, in milliseconds. */
export const lookEvery = 1_000

/** When a file was looked at last, in milliseconds. */
export class LastLook {
  #at = Number.NEGATIVE_INFINITY

  /** Whether `pause` has gone by, or the clock was set back by as much. */
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

/**
 * Replaces a file whole or not at all: a reader finds the old text or the new one, also after the machine went down. Only
 * the user who runs the proxy may open it.
 */
export const replaceFile = Effect.fnUntraced(function* (fs: FileSystem.FileSystem, path: string, text: string) {
  // A link stays one, and what it leads to is replaced.
  const target = yield* Effect.orElseSucceed(fs.realPath(path), () => path)
  const temporary = `${target}.${randomBytes(6).toString("hex")}.tmp`
  yield* Effect.scoped(
    Effect.gen(function* () {
      const file = yield* fs.open(temporary, { flag: "wx", mode: 0o600 })
      yield* file.writeAll(new TextEncoder().encode(text))
      yield* file.sync
    }),
  ).pipe(
    Effect.andThen(fs.rename(temporary, target)),
    Effect.onError(() => Effect.ignore(fs.remove(temporary, { force: true }))),
  )
})
