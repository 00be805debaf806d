import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { ConfigProvider, Effect, FileSystem, Layer, Logger, Option, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { readText, replaceFile } from "../../src/config/Files.ts"
import { Settings } from "../../src/config/Settings.ts"
import { Keys } from "../../src/downstream/auth/Keys.ts"
import { addKey } from "../../src/downstream/auth/KeysFile.ts"
import { Revocation } from "../../src/turn/Revocation.ts"
import { followLogin } from "../../src/upstream/credential/CodexAuth.ts"
import { followToken } from "../../src/upstream/credential/TokenFile.ts"
import { unlessItHangs } from "../support/EventLoop.ts"
import { ask } from "../support/Ask.ts"
import { makeRecorder } from "../support/Recorder.ts"
import { makeTenancy, startProxy } from "../support/Tenancy.ts"

const platform = Layer.merge(NodeFileSystem.layer, NodePath.layer)

const run = (...command: ReadonlyArray<string>) =>
  Effect.sync(() => assert.strictEqual(Bun.spawnSync([...command]).exitCode, 0, command.join(" ")))

const most = "is larger than 16 MiB"
const odd = "is no regular file"
const unread = "can't be read"

/** What may stand where a file should, made at a path where nothing is, and what is said of it. */
const kinds: ReadonlyArray<readonly [kind: string, says: string, make: (path: string) => Effect.Effect<unknown>]> = [
  ["a pipe", odd, (path) => run("mkfifo", "-m", "600", path)],
  ["a folder", odd, (path) => run("mkdir", "-m", "700", path)],
  ["a device that never ends", odd, (path) => run("ln", "-s", "/dev/zero", path)],
  ["a device that is empty", odd, (path) => run("ln", "-s", "/dev/null", path)],
  ["100 MB", most, (path) => Effect.andThen(run("truncate", "-s", "100M", path), run("chmod", "600", path))],
  ["nothing", unread, () => Effect.void],
  ["a link to nothing", unread, (path) => run("ln", "-s", "/no/where", path)],
  ["a link to itself", unread, (path) => run("ln", "-s", path, path)],
  [
    "a link to a pipe",
    odd,
    (path) => Effect.andThen(run("mkfifo", "-m", "600", `${path}.pipe`), run("ln", "-s", `${path}.pipe`, path)),
  ],
]

const inFolder = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-odd-" })
  return { fs, folder, path: `${folder}/file` }
})

const settings = (env: Readonly<Record<string, string>>) =>
  Settings.pipe(
    Effect.provide(Settings.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))),
  )

/** By each way on which a file is read; fails with the line to show. */
const readers: ReadonlyArray<
  readonly [
    name: string,
    read: (path: string) => Effect.Effect<unknown, { readonly message: string }, FileSystem.FileSystem | Scope.Scope>,
  ]
> = [
  ["RESPOOL_CONFIG", (path) => settings({ RESPOOL_CONFIG: path })],
  ["RESPOOL_TLS_CA", (path) => settings({ RESPOOL_TLS_CA: path })],
  ["RESPOOL_TLS_CERT", (path) => settings({ RESPOOL_TLS_CERT: path, RESPOOL_TLS_KEY: path })],
  ["RESPOOL_LISTEN_TLS_CERT", (path) => settings({ RESPOOL_LISTEN_TLS_CERT: path, RESPOOL_LISTEN_TLS_KEY: path })],
  ...["apiKeyFile", "tlsCa", "tlsCert"].map(
    (field) =>
      [
        field,
        (path: string) =>
          Effect.gen(function* () {
            const fs = yield* FileSystem.FileSystem
            const config = `${path}.json`
            const upstream = {
              url: "http://127.0.0.1:1/v1",
              [field]: path,
              ...(field === "tlsCert" ? { tlsKey: path } : {}),
            }
            yield* Effect.orDie(fs.writeFileString(config, JSON.stringify({ upstreams: { main: upstream } })))
            return yield* settings({ RESPOOL_CONFIG: config })
          }),
      ] as const,
  ),
  ["codexAuth", (path) => Effect.flatMap(FileSystem.FileSystem, (fs) => followLogin(fs, path, String).current)],
  ["tokenFile", (path) => Effect.flatMap(FileSystem.FileSystem, (fs) => followToken(fs, path).current)],
  ["the keys file", (path) => Layer.build(Layer.fresh(Keys.layerFile(path)).pipe(Layer.provide(Revocation.layer)))],
]

describe("Instead of a file", () => {
  for (const [kind, says, make] of kinds) {
    it.effect(`${kind} is refused in one line, at once, wherever a file is read`, () =>
      Effect.gen(function* () {
        for (const [name, read] of readers) {
          yield* Effect.scoped(
            Effect.gen(function* () {
              const { path } = yield* inFolder
              yield* make(path)
              const error = yield* unlessItHangs(Effect.flip(Effect.asVoid(read(path))), () => name)
              assert.include(error.message, path, name)
              assert.notInclude(error.message, "\n", name)
              const isOfOthers = name === "tokenFile" && error.message.includes("is open to other users")
              const isKeys = name === "the keys file" && says === unread
              if (!isOfOthers && !isKeys) assert.include(error.message, says, name)
            }),
          )
        }
      }).pipe(Effect.provide(platform)),
    )
  }

  it.effect("a link to a file is the file, and stays a link when it is written", () =>
    Effect.gen(function* () {
      const { folder, fs, path } = yield* inFolder
      yield* fs.writeFileString(`${folder}/target`, "one")
      yield* fs.symlink(`${folder}/target`, path)
      assert.strictEqual(yield* readText(fs, path), "one")
      yield* replaceFile(fs, path, "two")
      assert.strictEqual(yield* fs.readLink(path), `${folder}/target`)
      assert.strictEqual(yield* fs.readFileString(`${folder}/target`), "two")
      assert.sameMembers(yield* fs.readDirectory(folder), ["target", "file"])
    }).pipe(Effect.scoped, Effect.provide(platform)),
  )

  it.effect("a file of 16 MiB is read, and one byte more is too much", () =>
    Effect.gen(function* () {
      const { fs, path } = yield* inFolder
      yield* run("truncate", "-s", String(16 * 1024 * 1024), path)
      assert.lengthOf(yield* readText(fs, path), 16 * 1024 * 1024)
      yield* run("truncate", "-s", String(16 * 1024 * 1024 + 1), path)
      assert.strictEqual((yield* Effect.flip(readText(fs, path))).reason.description, most)
    }).pipe(Effect.scoped, Effect.provide(platform)),
  )
})

describe("While it is followed", () => {
  for (const [kind, says, make] of kinds) {
    it.effect(`a keys file that becomes ${kind} leaves the keys before in force, and is followed again`, () =>
      Effect.gen(function* () {
        const { fs, path } = yield* inFolder
        const key = yield* addKey({ path, name: "first" })
        const lines: Array<string> = []
        const logger = Logger.layer([Logger.make(({ message }) => void lines.push(String(message)))])
        const keys = yield* Effect.map(
          Layer.build(Keys.layerFile(path).pipe(Layer.provide(Revocation.layer), Layer.provide(logger))),
          (context) => Effect.provide(Keys, context),
        ).pipe(Effect.flatten)
        const isKnown = Effect.map(unlessItHangs(keys.verify(Redacted.value(key.secret))), Option.isSome)
        yield* fs.rename(path, `${path}.before`)
        yield* make(path)
        for (let second = 0; second < 5; second++) {
          yield* TestClock.adjust("1 second")
          assert.isTrue(yield* isKnown.pipe(Effect.provide(logger)))
        }
        const warnings = lines.filter((line) => line.includes("stay in force"))
        assert.lengthOf(warnings, 1)
        if (says !== unread) assert.include(warnings[0], says)
        yield* fs.remove(path, { recursive: true, force: true })
        yield* fs.writeFileString(path, '{"keys":[]}', { mode: 0o600 })
        // The file may be read by the look that needs no request, while a request still goes by what was read before.
        let known = true
        for (let looks = 0; known && looks < 50; looks++) {
          yield* TestClock.adjust("1 second")
          known = yield* isKnown
        }
        assert.isFalse(known)
      }).pipe(Effect.scoped, Effect.provide(platform)),
    )

    it.effect(`a login that becomes ${kind} stays in force as it was`, () =>
      Effect.gen(function* () {
        const { fs, path } = yield* inFolder
        yield* fs.writeFileString(path, '{"OPENAI_API_KEY":"test-key-a"}')
        const { current } = followLogin(fs, path, (secret) => `of ${secret}`)
        yield* current
        yield* fs.remove(path)
        yield* make(path)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* unlessItHangs(current)).resolved.identity, "of test-key-a")
        yield* fs.remove(path, { recursive: true, force: true })
        yield* fs.writeFileString(path, '{"OPENAI_API_KEY":"test-key-b"}')
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* current).resolved.identity, "of test-key-b")
      }).pipe(Effect.scoped, Effect.provide(platform)),
    )
  }

  it.effect("a record of ids that is a pipe is skipped, and the proxy starts", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { url: upstream } = yield* makeRecorder(() => "{}")
      yield* run("mkfifo", "-m", "600", `${tenancy.folder}/respool.ids/ownership-segment-000000000001-x`)
      const { logged, url } = yield* unlessItHangs(startProxy(tenancy, upstream, { transport: "http" }))
      assert.strictEqual((yield* ask(`${url}/models`, { key: tenancy.a.secret })).status, 200)
      assert.include(logged.join(), "cannot be read; its rows are forgotten")
    }),
  )
})
