import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer, Option, Path, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type * as Crypto from "node:crypto"
import { vi } from "vitest"
import { Keys } from "../../../src/downstream/auth/Keys.ts"
import type { KeyRecord, KeysFileError } from "../../../src/downstream/auth/KeysFile.ts"
import { addKey, makeKey, privateFolder, removeKeys } from "../../../src/downstream/auth/KeysFile.ts"
import { collectingLogger } from "../../support/Logged.ts"
import { Revocation } from "../../../src/turn/Revocation.ts"
import { round } from "../../support/EventLoop.ts"

const compared = vi.hoisted(() => new Array<readonly [left: number, right: number]>())

vi.mock("node:crypto", async (original) => {
  const crypto = await original<typeof Crypto>()
  const timingSafeEqual: typeof crypto.timingSafeEqual = (left, right) => {
    compared.push([left.byteLength, right.byteLength])
    return crypto.timingSafeEqual(left, right)
  }
  return { ...crypto, timingSafeEqual }
})

const platform = Layer.mergeAll(NodeFileSystem.layer, NodePath.layer, Revocation.layer)

const temporaryPath = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  return path.join(yield* fs.makeTempDirectoryScoped(), "state", "keys.json")
})

const openKeys = (path: string) =>
  Effect.map(Layer.build(Layer.fresh(Keys.layerFile(path))), (context) => Keys.pipe(Effect.provide(context))).pipe(
    Effect.flatten,
  )

const verified = (keys: Keys["Service"], secret: Redacted.Redacted<string>) =>
  Effect.map(keys.verify(Redacted.value(secret)), (record) => Option.getOrUndefined(record)?.name)

const write = Effect.fnUntraced(function* (path: string, text: string, mode = 0o600) {
  const fs = yield* FileSystem.FileSystem
  yield* fs.makeDirectory((yield* Path.Path).dirname(path), { recursive: true })
  yield* fs.writeFileString(path, text)
  yield* fs.chmod(path, mode)
})

const isOneLineNaming = (error: KeysFileError, path: string) => {
  assert.include(error.message, path)
  assert.notInclude(error.message, "\n")
}

/** Lets real file operations and virtual waits take turns until the fiber ends. */
const runToEnd = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function* () {
    while (fiber.pollUnsafe() === undefined) {
      yield* TestClock.adjust("50 millis")
      yield* round
    }
    return yield* Fiber.join(fiber)
  })

const secretOf = (secret: Redacted.Redacted<string>) => Redacted.value(secret)

describe("addKey", () => {
  it.effect("makes a key that is verified, with its name and user", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const made = yield* addKey({ path, name: "laptop", user: "alice" })
      assert.match(Redacted.value(made.secret), /^respool_[0-9a-f]{12}_[A-Za-z0-9_-]{43}$/)
      const keys = yield* openKeys(path)
      const record = Option.getOrThrow(yield* keys.verify(Redacted.value(made.secret)))
      assert.deepStrictEqual(record, made.record)
      assert.deepStrictEqual([record.name, record.user], ["laptop", "alice"])
      assert.strictEqual(record.createdAt, "1970-01-01T00:00:00.000Z")
    }).pipe(Effect.provide(platform)),
  )

  it.effect("keeps earlier keys, and two keys never share id or secret", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const first = yield* addKey({ path, name: "first" })
      const second = yield* addKey({ path, name: "second" })
      assert.notStrictEqual(first.record.id, second.record.id)
      assert.notStrictEqual(first.record.hash, second.record.hash)
      assert.isFalse("user" in first.record)
      const keys = yield* openKeys(path)
      assert.strictEqual(yield* verified(keys, first.secret), "first")
      assert.strictEqual(yield* verified(keys, second.secret), "second")
    }).pipe(Effect.provide(platform)),
  )

  it.effect("writes a file that only its owner can read, holds no secret, and leaves nothing beside it", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const fs = yield* FileSystem.FileSystem
      const first = yield* addKey({ path, name: "first" })
      const second = yield* addKey({ path, name: "second" })
      assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o600)
      const text = yield* fs.readFileString(path)
      for (const { secret } of [first, second]) assert.notInclude(text, Redacted.value(secret).slice(21))
      const folder = (yield* Path.Path).dirname(path)
      assert.deepStrictEqual(yield* fs.readDirectory(folder), ["keys.json"])
    }).pipe(Effect.provide(platform)),
  )

  it.live("loses none of many keys that are made at once", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const names = Array.from({ length: 12 }, (_, index) => `key ${index}`)
      const made = yield* Effect.forEach(names, (name) => addKey({ path, name }), { concurrency: "unbounded" })
      const keys = yield* openKeys(path)
      const found = yield* Effect.forEach(made, ({ secret }) => verified(keys, secret))
      assert.deepStrictEqual(found, names)
    }).pipe(Effect.provide(platform)),
  )

  it.effect("gives up on a lock that nobody releases, says which file to remove, and changes nothing", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const fs = yield* FileSystem.FileSystem
      yield* addKey({ path, name: "first" })
      const before = yield* fs.readFileString(path)
      yield* fs.writeFileString(`${path}.lock`, "")
      const fiber = yield* Effect.forkChild(Effect.flip(addKey({ path, name: "second" })))
      const error = yield* runToEnd(fiber)
      assert.strictEqual(error.reason, "Locked")
      isOneLineNaming(error, path)
      assert.include(error.message, `${path}.lock`)
      assert.strictEqual(yield* fs.readFileString(path), before)
      assert.isTrue(yield* fs.exists(`${path}.lock`))
    }).pipe(Effect.provide(platform)),
  )

  it.effect("leaves a file alone that it cannot read, and frees the lock", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const fs = yield* FileSystem.FileSystem
      yield* write(path, "{")
      const error = yield* Effect.flip(addKey({ path, name: "first" }))
      assert.strictEqual(error.reason, "Malformed")
      assert.strictEqual(yield* fs.readFileString(path), "{")
      assert.isFalse(yield* fs.exists(`${path}.lock`))
    }).pipe(Effect.provide(platform)),
  )

  const doubled: ReadonlyArray<readonly [first: string, second: string]> = [
    ["laptop", "laptop"],
    ["Laptop 2", "Laptop 2"],
    ["a", "a"],
    ["anna@example.com", "anna@example.com"],
    ["x".repeat(64), "x".repeat(64)],
    ["Zoë's laptop", "Zoë's laptop"],
  ]
  it.effect.each(doubled)("refuses the name of another key: %s", ([first, second]) =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const fs = yield* FileSystem.FileSystem
      yield* addKey({ path, name: first })
      const before = yield* fs.readFileString(path)
      for (const user of [undefined, "anna"]) {
        const error = yield* Effect.flip(addKey({ path, name: second, user }))
        assert.strictEqual(error.reason, "NameTaken")
        isOneLineNaming(error, path)
      }
      assert.strictEqual(yield* fs.readFileString(path), before)
      assert.isFalse(yield* fs.exists(`${path}.lock`))
    }).pipe(Effect.provide(platform)),
  )

  it.effect("refuses names and users that could break a log line or a scope", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      for (const name of ["", " ", "a\nb", "a\u001b[0m", "a\u202eb", "-x", "x".repeat(65)]) {
        const error = yield* Effect.flip(addKey({ path, name }))
        assert.strictEqual(error.reason, "InvalidName", JSON.stringify(name))
      }
      for (const user of ["", "a b", "a:b", "a\n", "é", "x".repeat(129)]) {
        const error = yield* Effect.flip(addKey({ path, name: "ok", user }))
        assert.strictEqual(error.reason, "InvalidName", JSON.stringify(user))
      }
      const made = yield* addKey({ path, name: "Zoë's laptop 2", user: "zoe+work@example.com" })
      assert.strictEqual(made.record.user, "zoe+work@example.com")
    }).pipe(Effect.provide(platform)),
  )
})

describe("Keys.layerFile", () => {
  it.effect("says how to make a file that is missing", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const error = yield* Effect.flip(openKeys(path))
      assert.strictEqual(error.reason, "Missing")
      isOneLineNaming(error, path)
      assert.include(error.message, "respool keys add")
    }).pipe(Effect.provide(platform)),
  )

  it.effect("refuses a file that is malformed, without quoting what it found", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const { record } = yield* makeKey({ name: "ok" })
      const files = [
        "",
        "test-key-a",
        "[]",
        '{"keys":{}}',
        JSON.stringify({ keys: [{ ...record, hash: "test-key-a" }] }),
        JSON.stringify({ keys: [{ ...record, user: "a:b" }] }),
        JSON.stringify({ keys: [{ ...record, id: "../x" }] }),
        JSON.stringify({ keys: [record, record] }),
      ]
      for (const text of files) {
        yield* write(path, text)
        const error = yield* Effect.flip(openKeys(path))
        assert.strictEqual(error.reason, "Malformed", text)
        isOneLineNaming(error, path)
        assert.notInclude(String(error) + JSON.stringify(error), "test-key-a")
      }
    }).pipe(Effect.provide(platform)),
  )

  it.effect("refuses a file that others can read or write, and says how to close it", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      yield* addKey({ path, name: "first" })
      const fs = yield* FileSystem.FileSystem
      for (const mode of [0o640, 0o604, 0o620, 0o602, 0o644]) {
        yield* fs.chmod(path, mode)
        const error = yield* Effect.flip(openKeys(path))
        assert.strictEqual(error.reason, "Permissions", mode.toString(8))
        assert.include(error.message, `run \`chmod 600 ${path}\``)
        isOneLineNaming(error, path)
        assert.strictEqual((yield* Effect.flip(addKey({ path, name: "second" }))).reason, "Permissions")
      }
      yield* fs.chmod(path, 0o400)
      yield* openKeys(path)
    }).pipe(Effect.provide(platform)),
  )

  it.effect("reports a path that is not a file", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(path, { recursive: true })
      const error = yield* Effect.flip(openKeys(path))
      assert.strictEqual(error.reason, "Unavailable")
      isOneLineNaming(error, path)
    }).pipe(Effect.provide(platform)),
  )

  it.effect("accepts a whole key only", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const made = yield* addKey({ path, name: "first" })
      const other = yield* addKey({ path, name: "second" })
      const stranger = yield* makeKey({ name: "stranger" })
      const keys = yield* openKeys(path)
      const secret = Redacted.value(made.secret)
      const forms = [
        "",
        "respool_",
        secret.slice(0, -1),
        `${secret}A`,
        secret.slice(0, -1) + (secret.endsWith("A") ? "E" : "A"),
        ` ${secret}`,
        secret.toUpperCase(),
        secret.slice(0, 20) + Redacted.value(other.secret).slice(20),
        `respool_${made.record.id}_${"A".repeat(43)}`,
        Redacted.value(stranger.secret),
        made.record.hash,
      ]
      for (const form of forms) assert.isTrue(Option.isNone(yield* keys.verify(form)), form)
      assert.strictEqual(yield* verified(keys, made.secret), "first")
    }).pipe(Effect.provide(platform)),
  )

  it.effect("follows the file, at most once a second", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const first = yield* addKey({ path, name: "first" })
      const keys = yield* openKeys(path)
      const second = yield* addKey({ path, name: "second" })
      assert.strictEqual(yield* verified(keys, second.secret), undefined)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* verified(keys, second.secret), "second")
      yield* write(path, JSON.stringify({ keys: [second.record] }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* verified(keys, first.secret), undefined)
      assert.strictEqual(yield* verified(keys, second.secret), "second")
    }).pipe(Effect.provide(platform)),
  )

  it.effect("are refused once they are taken out, by name or by id, and the log names who came and went", () =>
    Effect.gen(function* () {
      const { logged, logger } = collectingLogger()
      const path = yield* temporaryPath
      const made = yield* Effect.forEach(["one", "two", "three"], (name) => addKey({ path, name, user: "team" }))
      const ids = made.map(({ record }) => record.id)
      yield* Effect.gen(function* () {
        const keys = yield* openKeys(path)
        const served = Effect.forEach(made, ({ secret }) => Effect.map(keys.verify(secretOf(secret)), Option.isSome))
        assert.deepStrictEqual(
          (yield* removeKeys(path, "one")).map(({ id }) => id),
          [ids[0]],
        )
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* served, [false, true, true])
        assert.lengthOf(logged, 1)
        assert.include(logged[0], `removed="one (${ids[0]}) of team"`)
        assert.notInclude(logged[0], "added=")
        yield* removeKeys(path, ids[2] ?? "")
        const again = yield* addKey({ path, name: "one" })
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(yield* served, [false, true, false])
        assert.include(logged[1], `added="one (${again.record.id})" removed="three (${ids[2]}) of team"`)
        for (const { secret } of [...made, again]) assert.notInclude(logged.join(), secretOf(secret).slice(21))
      }).pipe(Effect.provide(logger))
      for (const unknown of ["three", ids[0] ?? "", "", "ONE", "tw", "*"]) {
        const error = yield* Effect.flip(removeKeys(path, unknown))
        assert.strictEqual(error.reason, "Unknown")
        isOneLineNaming(error, path)
      }
      const error = yield* Effect.flip(removeKeys(`${path}.none`, "one"))
      assert.strictEqual(error.reason, "Missing")
    }).pipe(Effect.provide(platform)),
  )

  it.effect("revokes who has no key left, though nobody asks, and takes it back with a new key", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const { isRevoked, listen } = yield* Revocation
      const alone = yield* addKey({ path, name: "alone" })
      const first = yield* addKey({ path, name: "first", user: "team" })
      const second = yield* addKey({ path, name: "second", user: "team" })
      yield* openKeys(path)
      const scopes = [`key:${alone.record.id}`, "user:team"]
      const revoked = () => scopes.filter(isRevoked)
      const changed = Effect.fnUntraced(function* (records: ReadonlyArray<KeyRecord>) {
        const told = yield* Deferred.make<void>()
        yield* listen(() => Deferred.doneUnsafe(told, Effect.void))
        yield* write(path, JSON.stringify({ keys: records }))
        yield* TestClock.adjust("2 seconds")
        yield* Deferred.await(told)
      }, Effect.scoped)
      assert.deepStrictEqual(revoked(), [])
      yield* changed([first.record])
      assert.deepStrictEqual(revoked(), [`key:${alone.record.id}`])
      yield* changed([alone.record])
      assert.deepStrictEqual(revoked(), ["user:team"])
      yield* changed([alone.record, second.record])
      assert.deepStrictEqual(revoked(), [])
    }).pipe(Effect.provide(platform)),
  )

  it.effect("keeps the keys it has while the file is bad, and follows it again once it is good", () =>
    Effect.gen(function* () {
      const path = yield* temporaryPath
      const fs = yield* FileSystem.FileSystem
      const first = yield* addKey({ path, name: "first" })
      const keys = yield* openKeys(path)
      yield* write(path, "{")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* verified(keys, first.secret), "first")
      yield* fs.remove(path)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* verified(keys, first.secret), "first")
      const second = yield* addKey({ path, name: "second" })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* verified(keys, first.secret), undefined)
      assert.strictEqual(yield* verified(keys, second.secret), "second")
    }).pipe(Effect.provide(platform)),
  )
})

describe("A key", () => {
  it.effect("is compared in constant time, once and over as many bytes, whether or not it is known", () =>
    Effect.gen(function* () {
      const { record, secret } = yield* makeKey({ name: "first" })
      const keys = yield* Effect.provide(Keys, Keys.layer([record]))
      const known = Redacted.value(secret)
      const wrong = known.slice(0, -2) + (known.endsWith("AA") ? "EE" : "AA")
      const stranger = Redacted.value((yield* makeKey({ name: "stranger" })).secret)
      for (const key of [known, wrong, stranger, "", "test-key-a"]) {
        compared.length = 0
        const found = yield* keys.verify(key)
        assert.strictEqual(Option.isSome(found), key === known)
        assert.deepStrictEqual(compared, [[32, 32]])
      }
    }),
  )
})

describe("privateFolder", () => {
  it.effect("makes a folder that only its owner can enter, with those above it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/state/ids`
      yield* privateFolder(path)
      yield* privateFolder(path)
      for (const folder of [path, path.slice(0, -"/ids".length)]) {
        const { mode, type } = yield* fs.stat(folder)
        assert.deepStrictEqual([type, mode & 0o777], ["Directory", 0o700])
      }
    }).pipe(Effect.provide(platform)),
  )

  it.effect("refuses one that others can read or write, and says how to close it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/the user's ids`
      yield* privateFolder(path)
      for (const mode of [0o740, 0o704, 0o720, 0o702, 0o710, 0o755]) {
        yield* fs.chmod(path, mode)
        const error = yield* Effect.flip(privateFolder(path))
        assert.strictEqual(error.reason, "Permissions", mode.toString(8))
        isOneLineNaming(error, path)
        const command = /run `(.*)`$/.exec(error.message)?.[1] ?? ""
        yield* Effect.promise(() => Bun.spawn(["sh", "-c", command]).exited)
        assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o700, command)
        yield* privateFolder(path)
      }
    }).pipe(Effect.provide(platform)),
  )

  it.effect("refuses what is no folder", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped()}/ids`
      yield* fs.writeFileString(path, "", { mode: 0o600 })
      const error = yield* Effect.flip(privateFolder(path))
      assert.strictEqual(error.reason, "Unavailable")
      isOneLineNaming(error, path)
    }).pipe(Effect.provide(platform)),
  )
})

describe("makeKey", () => {
  it.effect("shows the secret only to who unwraps it", () =>
    Effect.gen(function* () {
      const made = yield* makeKey({ name: "first" })
      const secret = Redacted.value(made.secret)
      assert.notInclude(JSON.stringify(made) + String(made.secret), secret)
      const keys = yield* Effect.provide(Keys, Keys.layer([made.record]))
      assert.isTrue(Option.isSome(yield* keys.verify(secret)))
    }),
  )
})
