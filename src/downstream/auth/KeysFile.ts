/**
 * The file of the keys that this proxy hands out: reads it, and adds and removes keys.
 *
 * It holds `{"keys":[{"id","name","user"?,"hash","createdAt"}]}`, where `hash` is the hex SHA-256 of the whole key. Other
 * users of the machine must not be able to read it. It is replaced as a whole, so a reader never sees half of it.
 */
import type { PlatformError } from "effect"
import { DateTime, Effect, FileSystem, Path, Redacted, Schedule, Schema } from "effect"
import { createHash, randomBytes } from "node:crypto"
import { isOpenToOthers, readText, replaceFile, whyUnread } from "../../config/Files.ts"

const namePattern = /^[\p{L}\p{N}][\p{L}\p{N} ._@+'-]{0,63}$/u
const userPattern = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$/

/** One key, without its secret. `hash` is hex SHA-256 of the whole key, `createdAt` an ISO 8601 instant. */
export const KeyRecord = Schema.Struct({
  id: Schema.String.check(Schema.isPattern(/^[0-9a-f]{12}$/)),
  name: Schema.String.check(Schema.isPattern(namePattern)),
  user: Schema.optionalKey(Schema.String.check(Schema.isPattern(userPattern))),
  hash: Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)),
  createdAt: Schema.String,
})
export type KeyRecord = typeof KeyRecord.Type

const KeysFile = Schema.fromJsonString(Schema.Struct({ keys: Schema.Array(KeyRecord) }), { space: 2 })

/** Why the keys file cannot be used. The message is one line that names the file and says what to do. */
export class KeysFileError extends Schema.TaggedError<KeysFileError>()("KeysFileError", {
  reason: Schema.Literals([
    "Missing",
    "Permissions",
    "Malformed",
    "Locked",
    "InvalidName",
    "NameTaken",
    "Unknown",
    "Unavailable",
  ]),
  path: Schema.String,
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect()),
}) {}

const unavailable = (path: string) => (cause: PlatformError.PlatformError) => {
  const why = whyUnread(cause)
  const what = why === "can't be read" ? "cannot be read or written" : why
  return new KeysFileError({ reason: "Unavailable", path, message: `keys file ${path} ${what}`, cause })
}

export const hashOf = (key: string): Uint8Array => createHash("sha256").update(key).digest()

/** Draws a new key. `secret` is the key itself, to be shown once; `record` is what is kept. */
export const makeKey = Effect.fnUntraced(function* (options: {
  readonly name: string
  readonly user?: string | undefined
}) {
  const id = randomBytes(6).toString("hex")
  const key = `respool_${id}_${randomBytes(32).toString("base64url")}`
  const record: KeyRecord = {
    id,
    name: options.name,
    ...(options.user === undefined ? {} : { user: options.user }),
    hash: Buffer.from(hashOf(key)).toString("hex"),
    createdAt: DateTime.formatIso(yield* DateTime.now),
  }
  return { secret: Redacted.make(key), record }
})

const openToOthers = (path: string, what: string, mode: number) =>
  new KeysFileError({
    reason: "Permissions",
    path,
    message: `${what} ${path} is open to other users of this machine: run \`chmod ${mode.toString(8)} ${quoted(path)}\``,
  })

/** A path as a POSIX shell reads it as one word. */
const quoted = (path: string) =>
  /^[\w./@%+=:,][\w./@%+=:,-]*$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`

/**
 * Makes the folder for data that belongs to the keys (mode 0700), and the folders above it. Where the path exists
 * already, it must be a folder that is closed to other users.
 */
export const privateFolder = Effect.fnUntraced(function* (
  path: string,
): Effect.fn.Return<void, KeysFileError, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const unusable = (cause: unknown) =>
    new KeysFileError({ reason: "Unavailable", path, message: `folder ${path} cannot be made or read`, cause })
  // Made here with its mode: a store that made the folder itself would leave it as open as the process's umask allows.
  yield* fs.makeDirectory(path, { recursive: true, mode: 0o700 }).pipe(Effect.mapError(unusable))
  const { mode } = yield* Effect.mapError(fs.stat(path), unusable)
  if (isOpenToOthers(mode)) return yield* openToOthers(path, "folder", 0o700)
})

/** The keys of a file, the oldest first. Fails where there is none; does not wait for a writer, since files are only ever replaced. */
export const readKeys = Effect.fnUntraced(function* (
  path: string,
): Effect.fn.Return<ReadonlyArray<KeyRecord>, KeysFileError, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const { info, text } = yield* Effect.all({ info: fs.stat(path), text: readText(fs, path) }).pipe(
    Effect.mapError((cause) =>
      cause.reason._tag === "NotFound"
        ? new KeysFileError({
            reason: "Missing",
            path,
            message: `keys file ${path} does not exist: make it with \`respool keys add NAME\``,
          })
        : unavailable(path)(cause),
    ),
  )
  if (isOpenToOthers(info.mode)) return yield* openToOthers(path, "keys file", 0o600)
  // The decoder's error quotes the file, where a secret may have been pasted in, so it is not shown.
  const malformed = (what: string) =>
    new KeysFileError({ reason: "Malformed", path, message: `keys file ${path} ${what}` })
  const { keys } = yield* Schema.decodeEffect(KeysFile)(text).pipe(
    Effect.mapError(() => malformed('is not JSON of the form {"keys":[{"id","name","user"?,"hash","createdAt"}]}')),
  )
  if (new Set(keys.map((key) => key.id)).size !== keys.length) return yield* malformed("has two keys with the same id")
  return keys
})

/** Holds `<path>.lock` while `effect` runs, so that no writer loses another's change. Waits for it up to 5 s. */
const withLock = <A, R>(path: string, effect: Effect.Effect<A, KeysFileError, R>) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const lock = `${path}.lock`
    const take = fs.writeFileString(lock, "", { flag: "wx", mode: 0o600 }).pipe(
      Effect.mapError((cause) =>
        cause.reason._tag === "AlreadyExists"
          ? new KeysFileError({
              reason: "Locked",
              path,
              message: `keys file ${path} is being changed by another process; if none is running, remove ${lock}`,
            })
          : unavailable(path)(cause),
      ),
    )
    const release = Effect.ignore(fs.remove(lock, { force: true }))
    // The whole is retried, not `take`, since an acquisition cannot be interrupted, and a wait must be.
    return yield* Effect.acquireUseRelease(
      take,
      () => effect,
      () => release,
    ).pipe(
      Effect.retry({
        while: (error) => error.reason === "Locked",
        schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 100 })),
      }),
    )
  })

/** Changes the file's keys while no other process does. `made` is given back. */
const changeKeys = Effect.fnUntraced(function* <A>(
  path: string,
  change: (
    existing: ReadonlyArray<KeyRecord>,
  ) => Effect.Effect<{ readonly keys: ReadonlyArray<KeyRecord>; readonly made: A }, KeysFileError>,
): Effect.fn.Return<A, KeysFileError, FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  const changed = Effect.gen(function* () {
    const { keys, made } = yield* change(
      yield* readKeys(path).pipe(
        Effect.catchIf(
          (error) => error.reason === "Missing",
          () => Effect.succeed<ReadonlyArray<KeyRecord>>([]),
        ),
      ),
    )
    const text = yield* Schema.encodeEffect(KeysFile)({ keys }).pipe(Effect.orDie)
    yield* Effect.mapError(replaceFile(fs, path, `${text}\n`), unavailable(path))
    return made
  })
  return yield* withLock(path, changed)
})

/** Takes the keys out that have this name or this id, and gives them back. Fails where no key does. */
export const removeKeys = Effect.fn("Keys.removeKeys")(function* (path: string, nameOrId: string) {
  // A file that is not there holds no key either, and no lock must be left beside it.
  yield* readKeys(path)
  return yield* changeKeys(path, (existing) => {
    const fits = ({ id, name }: KeyRecord) => name === nameOrId || id === nameOrId
    const removed = existing.filter(fits)
    return removed.length > 0
      ? Effect.succeed({ keys: existing.filter((key) => !fits(key)), made: removed })
      : Effect.fail(
          new KeysFileError({
            reason: "Unknown",
            path,
            message: `keys file ${path} has no key with that name or id: \`respool keys list\` shows them`,
          }),
        )
  })
})

/**
 * Makes a key and adds it to the file, which is made (mode 0600) if there is none. Several processes may do so at once.
 *
 * @param name 1 to 64 letters, digits, blanks and `._@+'-`, for people and logs; no other key of the file has it
 * @param user the user who gets the key: 1 to 128 of `A-Z a-z 0-9 . _ @ + -`. All keys of one user are one scope.
 * @returns the key, which cannot be had again, and what was kept of it
 */
export const addKey = Effect.fn("Keys.addKey")(function* (options: {
  readonly path: string
  readonly name: string
  readonly user?: string | undefined
}) {
  const { path, name, user } = options
  const invalid = (message: string) => new KeysFileError({ reason: "InvalidName", path, message })
  if (!namePattern.test(name)) {
    return yield* invalid(
      "a key's name is 1 to 64 letters, digits, blanks and ._@+'- and starts with a letter or digit",
    )
  }
  if (user !== undefined && !userPattern.test(user)) {
    return yield* invalid("a user is 1 to 128 ASCII letters, digits and ._@+- and starts with a letter or digit")
  }
  const fs = yield* FileSystem.FileSystem
  const folder = (yield* Path.Path).dirname(path)
  yield* fs.makeDirectory(folder, { recursive: true, mode: 0o700 }).pipe(Effect.mapError(unavailable(path)))
  return yield* changeKeys(path, (existing) =>
    existing.some((key) => key.name === name)
      ? Effect.fail(
          new KeysFileError({
            reason: "NameTaken",
            path,
            message: `keys file ${path} has a key with that name: take another, or \`respool keys remove\` it first`,
          }),
        )
      : Effect.map(makeKey({ name, user }), (made) => ({ keys: [...existing, made.record], made })),
  )
})
