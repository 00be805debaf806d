import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, FileSystem, Layer } from "effect"
import { health } from "../../src/cli/Health.ts"
import { origin } from "../../src/cli/Running.ts"
import { Settings } from "../../src/config/Settings.ts"
import { loopback, selfSigned } from "../support/Certificate.ts"
import { folder } from "../support/Command.ts"

const files = Layer.merge(NodeFileSystem.layer, NodePath.layer)

/** Runs with these settings from the environment, and those of the file that it names. */
const withSettings =
  (env: Readonly<Record<string, string>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provide(effect, ConfigProvider.layer(ConfigProvider.fromEnv({ env })))

const { cert, key } = selfSigned(loopback)

/** A respool.json with these settings, and where `tls` says so with a certificate beside it; gives its path. */
const configured = Effect.fnUntraced(function* (tls: boolean, settings: Readonly<Record<string, unknown>>) {
  const fs = yield* FileSystem.FileSystem
  const cwd = yield* folder
  const listenTls = { listenTlsCert: `${cwd}/cert.pem`, listenTlsKey: `${cwd}/key.pem` }
  yield* fs.writeFileString(listenTls.listenTlsCert, cert)
  yield* fs.writeFileString(listenTls.listenTlsKey, key, { mode: 0o600 })
  yield* fs.writeFileString(`${cwd}/respool.json`, JSON.stringify({ ...settings, ...(tls ? listenTls : {}) }))
  return `${cwd}/respool.json`
})

describe("Where a command asks the proxy of the same settings", () => {
  const places: ReadonlyArray<readonly [tls: boolean, settings: Readonly<Record<string, unknown>>, expected: string]> =
    [
      [false, {}, "http://127.0.0.1:8080"],
      [false, { port: 9000 }, "http://127.0.0.1:9000"],
      [false, { host: "0.0.0.0" }, "http://127.0.0.1:8080"],
      [false, { host: "::" }, "http://[::1]:8080"],
      [false, { host: "::1", port: 9000 }, "http://[::1]:9000"],
      [false, { host: "localhost" }, "http://localhost:8080"],
      [true, {}, "https://127.0.0.1:8080"],
      [true, { host: "0.0.0.0" }, "https://127.0.0.1:8080"],
      [true, { host: "::", port: 443 }, "https://[::1]:443"],
      [true, { host: "proxy.test" }, "https://proxy.test:8080"],
    ]
  it.effect.each(places)("is said by respool.json, with a certificate: %s, %s", ([tls, settings, expected]) =>
    Effect.gen(function* () {
      const path = yield* configured(tls, settings)
      const found = origin.pipe(Effect.provide(Settings.layerConfigUnchecked), withSettings({ RESPOOL_CONFIG: path }))
      assert.strictEqual(yield* found, expected)
    }).pipe(Effect.scoped, Effect.provide(files)),
  )
})

describe("respool health", () => {
  const statuses: ReadonlyArray<readonly [tls: boolean, status: number, healthy: boolean]> = [
    [true, 200, true],
    [true, 503, false],
    [true, 404, false],
    [false, 200, true],
    [false, 503, false],
    [false, 500, false],
  ]
  it.effect.each(statuses)(
    "asks over TLS where respool.json has a certificate: %s, %s is %s",
    ([tls, status, healthy]) =>
      Effect.gen(function* () {
        const asked: Array<string> = []
        const server = yield* Effect.acquireRelease(
          Effect.sync(() =>
            Bun.serve({
              hostname: "127.0.0.1",
              port: 0,
              ...(tls ? { tls: { cert, key } } : {}),
              fetch: ({ url }) => {
                asked.push(new URL(url).pathname)
                return new Response("", { status })
              },
            }),
          ),
          (server) => Effect.promise(() => server.stop(true)),
        )
        const path = yield* configured(tls, { port: server.port })
        const ended = yield* Effect.exit(health.pipe(withSettings({ RESPOOL_CONFIG: path })))
        assert.strictEqual(Exit.isSuccess(ended), healthy)
        assert.deepStrictEqual(asked, ["/readyz"])
      }).pipe(Effect.scoped, Effect.provide(files)),
  )
})
