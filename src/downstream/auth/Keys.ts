/**
 * Keeps the keys that this proxy hands out: made once, stored as hashes, compared in constant time.
 *
 * A key is `respool_<id>_<secret>`, with 12 hex digits of id and 32 random bytes of secret in base64url. The file holds
 * `{"keys":[{"id","name","user"?,"hash","createdAt"}]}`, where `hash` is the hex SHA-256 of the whole key. A fast hash
 * is right here: slow ones protect what people choose, while 256 random bits cannot be searched at any speed, and a
 * slow hash on every request would only let callers without a key keep the proxy busy.
 *
 * Other users of the machine must not be able to read the file. It is replaced as a whole, so a reader never sees half
 * of it. A running proxy looks at it once a second and follows it: a scope with no key left in it is revoked. A file
 * that turned bad changes nothing and is warned about once.
 */
import type { PlatformError } from "effect"
import { Context, DateTime, Effect, FileSystem, Layer, Option, Path, Redacted, Schedule, Schema } from "effect"
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { isOpenToOthers, LastLook, lookAt, lookEvery, readText, replaceFile, whyUnread } from "../../config/Files.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import { Revocation } from "../../turn/Revocation.ts"

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
  reason: Schema.Literals(["Missing", "Permissions", "Malformed", "Locked", "InvalidName", "Unavailable"]),
  path: Schema.String,
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect()),
}) {}

const unavailable = (path: string) => (cause: PlatformError.PlatformError) => {
  const why = whyUnread(cause)
  const what = why === "can't be read" ? "cannot be read or written" : why
  return new KeysFileError({ reason: "Unavailable", path, message: `keys file ${path} ${what}`, cause })
}

const hashOf = (key: string) => createHash("sha256").update(key).digest()

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
    hash: hashOf(key).toString("hex"),
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

/** Reads and checks the file; does not wait for a writer, since files are only ever replaced. */
const readKeys = Effect.fnUntraced(function* (
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

/**
 * Makes a key and adds it to the file, which is made (mode 0600) if there is none. Several processes may do so at once.
 *
 * @param name 1 to 64 letters, digits, blanks and `._@+'-`, for people and logs
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
  const add = Effect.gen(function* () {
    const existing = yield* readKeys(path).pipe(
      Effect.catchIf(
        (error) => error.reason === "Missing",
        () => Effect.succeed<ReadonlyArray<KeyRecord>>([]),
      ),
    )
    const made = yield* makeKey({ name, user })
    const text = yield* Schema.encodeEffect(KeysFile)({ keys: [...existing, made.record] }).pipe(Effect.orDie)
    yield* Effect.mapError(replaceFile(fs, path, `${text}\n`), unavailable(path))
    return made
  })
  return yield* withLock(path, add)
})

// An unknown id is compared with this, so that it takes as long as a known one.
const dummyHash = randomBytes(32)

const verifyWith = (keys: ReadonlyMap<string, KeyRecord>, secret: string): Option.Option<KeyRecord> => {
  const id = /^respool_([0-9a-f]{12})_[A-Za-z0-9_-]{43}$/.exec(secret)?.[1]
  const record = id === undefined ? undefined : keys.get(id)
  const expected = record === undefined ? dummyHash : Buffer.from(record.hash, "hex")
  const equal = timingSafeEqual(hashOf(secret), expected)
  return equal && record !== undefined ? Option.some(record) : Option.none()
}

/** The scope of a key: that of its user, or one for the key alone. */
export const scopeOf = ({ id, user }: KeyRecord): string => (user === undefined ? `key:${id}` : `user:${user}`)

const byId = (records: ReadonlyArray<KeyRecord>): ReadonlyMap<string, KeyRecord> =>
  new Map(records.map((record) => [record.id, record]))

export class Keys extends Context.Service<
  Keys,
  {
    /** The record of a key as the caller sent it; none if this proxy did not hand it out. */
    readonly verify: (secret: string) => Effect.Effect<Option.Option<KeyRecord>>
  }
>()("respool/downstream/Keys") {
  /** A fixed set of keys, for apps that keep them elsewhere. */
  static readonly layer = (records: ReadonlyArray<KeyRecord>): Layer.Layer<Keys> =>
    Layer.sync(Keys, () => {
      const keys = byId(records)
      return { verify: (secret) => Effect.sync(() => verifyWith(keys, secret)) }
    })

  /** The keys of a file, followed while it changes. Fails if the file is missing, malformed or open to others. */
  static readonly layerFile = (path: string): Layer.Layer<Keys, KeysFileError, FileSystem.FileSystem | Revocation> =>
    Layer.effect(
      Keys,
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const revocation = yield* Revocation
        let { stamp: seen } = yield* lookAt(fs, path)
        let keys = byId(yield* readKeys(path))
        const lastLook = new LastLook()
        lastLook.was(yield* monotonicMillis)
        const everServed = new Set<string>()
        const revokeOthers = () => {
          const served = new Set([...keys.values()].map(scopeOf))
          for (const scope of served) everServed.add(scope)
          revocation.revoke(everServed.difference(served))
        }
        revokeOthers()

        const follow = Effect.fnUntraced(
          function* (unlessWithin: number) {
            const now = yield* monotonicMillis
            if (!lastLook.isDue(now, unlessWithin)) return
            // Set before the first wait, so that only one of many requests at once looks at the file.
            lastLook.was(now)
            const { stamp } = yield* lookAt(fs, path)
            if (stamp === seen) return
            seen = stamp
            keys = byId(yield* readKeys(path).pipe(Effect.provideService(FileSystem.FileSystem, fs)))
            revokeOthers()
          },
          Effect.catch((error) => Effect.logWarning(`${error.message}; the keys read before stay in force`)),
        )

        // A revoked caller may never ask again, so the file is looked at without requests too.
        yield* Effect.sleep(lookEvery).pipe(Effect.andThen(follow(2 * lookEvery)), Effect.forever, Effect.forkScoped)

        const verify = Effect.fn("Keys.verify")(function* (secret: string) {
          yield* follow(lookEvery)
          return verifyWith(keys, secret)
        })
        return Keys.of({ verify })
      }),
    )
}
