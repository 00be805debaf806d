/**
 * Keeps the keys that this proxy hands out: made once, stored as hashes, compared in constant time.
 *
 * A key is `respool_<id>_<secret>`, with 12 hex digits of id and 32 random bytes of secret in base64url. A fast hash is
 * right here: slow ones protect what people choose, while 256 random bits cannot be searched at any speed, and a slow hash
 * on every request would only let callers without a key keep the proxy busy.
 *
 * A running proxy looks at the file (`KeysFile.ts`) once a second and follows it: a scope with no key left in it is revoked,
 * and the log names the keys that came and went. A file that turned bad changes nothing and is warned about once.
 */
import { Context, Effect, FileSystem, Layer, Option } from "effect"
import { randomBytes, timingSafeEqual } from "node:crypto"
import { LastLook, lookAt, lookEvery } from "../../config/Files.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import { Revocation } from "../../turn/Revocation.ts"
import type { KeyRecord, KeysFileError } from "./KeysFile.ts"
import { hashOf, readKeys } from "./KeysFile.ts"

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

/** How a key is called in the log. */
export const labelOf = ({ id, name, user }: KeyRecord) => `${name} (${id})${user === undefined ? "" : ` of ${user}`}`

const tellChanges = (before: ReadonlyMap<string, KeyRecord>, after: ReadonlyMap<string, KeyRecord>) => {
  const only = (these: ReadonlyMap<string, KeyRecord>, those: ReadonlyMap<string, KeyRecord>) =>
    [...these.values()].filter(({ hash, id }) => those.get(id)?.hash !== hash).map(labelOf)
  const [added, removed] = [only(after, before), only(before, after)]
  if (added.length + removed.length === 0) return Effect.void
  return Effect.logInfo("keys were read again").pipe(
    Effect.annotateLogs({
      ...(added.length === 0 ? {} : { added: added.join(", ") }),
      ...(removed.length === 0 ? {} : { removed: removed.join(", ") }),
    }),
  )
}

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
            const before = keys
            keys = byId(yield* readKeys(path).pipe(Effect.provideService(FileSystem.FileSystem, fs)))
            revokeOthers()
            yield* tellChanges(before, keys)
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
