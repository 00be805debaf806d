import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { assert, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem, Layer } from "effect"
import { HttpServer } from "effect/http"
import { TestClock } from "effect/testing"
import { X509Certificate } from "node:crypto"
import { connect } from "node:tls"
import { Settings } from "../src/config/Settings.ts"
import { Reload } from "../src/Reload.ts"
import * as Server from "../src/Server.ts"
import { agent } from "../src/simulator/Script.ts"
import type { Pair } from "./support/Certificate.ts"
import { loopback, selfSigned } from "./support/Certificate.ts"
import { collectingLogger } from "./support/Logged.ts"
import { reading } from "./support/Reading.ts"
import { simulatorOf } from "./support/Several.ts"

/** A proxy that listens with a pair of files, which a test may write again, alone or named by `respool.json`. */
const listening = Effect.fnUntraced(function* (first: Pair, named: "environment" | "file" = "environment") {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-listening-" })
  const simulator = yield* simulatorOf({ script: agent({ rounds: 0, words: 5 }) })
  const [cert, key] = [`${folder}/cert.pem`, `${folder}/key.pem`]
  const write = (pair: Pair) =>
    Effect.andThen(fs.writeFileString(cert, pair.cert), fs.writeFileString(key, pair.key, { mode: 0o600 }))
  yield* write(first)
  const files = { listenTlsCert: cert, listenTlsKey: key }
  const json = (more: object) => fs.writeFileString(`${folder}/respool.json`, JSON.stringify(more))
  yield* json(named === "file" ? files : {})
  const { logged, logger } = collectingLogger()
  const env = {
    RESPOOL_PORT: "0",
    RESPOOL_UPSTREAM_URL: simulator.url,
    RESPOOL_CONFIG: `${folder}/respool.json`,
    ...(named === "file" ? {} : { RESPOOL_LISTEN_TLS_CERT: cert, RESPOOL_LISTEN_TLS_KEY: key }),
  }
  const context = yield* Layer.build(
    Reload.layer.pipe(
      Layer.provideMerge(Server.layer),
      Layer.provide(Settings.layerConfig),
      Layer.provide([NodeFileSystem.layer, NodePath.layer, logger]),
      Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))),
    ),
  )
  const server = yield* Effect.provide(HttpServer.HttpServer, context)
  const { now } = yield* Effect.provide(Reload, context)
  const url = HttpServer.formatAddress(server.address).replace(/^http:/, "https:")
  const shown = Effect.callback<string>((resume) => {
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port), rejectUnauthorized: false }, () => {
      resume(Effect.succeed(socket.getPeerCertificate().fingerprint256))
      socket.destroy()
    })
    // A connection that is made while the port changes hands may be reset.
    socket.on("error", ({ message }) => resume(Effect.succeed(message)))
  })
  return { cert, folder, json, key, logged, now, shown, simulator, url, write, writeFile: fs.writeFileString }
})

const fingerprint = ({ cert }: Pair) => new X509Certificate(cert).fingerprint256

const insecure = { tls: { rejectUnauthorized: false } }

it.layer(NodeFileSystem.layer)("The certificate that respool listens with", (it) => {
  for (const named of ["environment", "file"] as const) {
    it.effect(`is another one as soon as its files are, where the ${named} names them`, () =>
      Effect.gen(function* () {
        const [first, second] = [selfSigned(loopback), selfSigned(loopback)]
        const { logged, shown, write } = yield* listening(first, named)
        assert.strictEqual(yield* shown, fingerprint(first))
        yield* write(second)
        yield* TestClock.adjust("1 second")
        yield* Effect.repeat(shown, { until: (found) => found === fingerprint(second) })
        assert.include(logged.at(-1), 'unchanged=default listensWith="another certificate"')
        assert.notInclude(logged.join(), "fromTheNextStart")
      }).pipe(Effect.scoped),
    )
  }

  it.effect("is read again when it is asked for, and is another only where the files are", () =>
    Effect.gen(function* () {
      const pairs = Array.from({ length: 3 }, () => selfSigned(loopback))
      const first = pairs[0] ?? selfSigned(loopback)
      const { logged, now, shown, write } = yield* listening(first)
      yield* now
      assert.notInclude(logged.at(-1), "listensWith")
      for (const pair of [...pairs, first]) {
        yield* write(pair)
        yield* now
        assert.strictEqual(yield* shown, fingerprint(pair))
      }
    }).pipe(Effect.scoped),
  )

  it.effect("is that of other files where respool.json names others", () =>
    Effect.gen(function* () {
      const [first, second] = [selfSigned(loopback), selfSigned(loopback)]
      const { folder, json, logged, now, shown, writeFile } = yield* listening(first, "file")
      yield* writeFile(`${folder}/other.pem`, `${second.cert}\n${second.key}`)
      yield* json({ listenTlsCert: `${folder}/other.pem`, listenTlsKey: `${folder}/other.pem` })
      yield* now
      assert.strictEqual(yield* shown, fingerprint(second))
      assert.notInclude(logged.at(-1), "fromTheNextStart")
      yield* json({})
      yield* now
      assert.strictEqual(yield* shown, fingerprint(second))
      assert.include(logged.at(-1), 'fromTheNextStart="listenTlsCert listenTlsKey"')
    }).pipe(Effect.scoped),
  )

  it.effect("stays where the files can't be used, and is taken when they can", () =>
    Effect.gen(function* () {
      const [first, second] = [selfSigned(loopback), selfSigned(loopback)]
      const { cert, key, logged, now, shown, write, writeFile } = yield* listening(first)
      const wrong: ReadonlyArray<readonly [what: string, cert: string, key: string]> = [
        ["a certificate before its key", second.cert, first.key],
        ["a key before its certificate", first.cert, second.key],
        ["an empty file", "", first.key],
        ["no PEM", "certificate", first.key],
        ["half a certificate", second.cert.slice(0, 200), second.key],
        ["a key in place of the certificate", second.key, second.key],
      ]
      for (const [what, certText, keyText] of wrong) {
        yield* writeFile(cert, certText)
        yield* writeFile(key, keyText)
        yield* now
        assert.include(logged.at(-1), "those before stay in force", what)
        assert.strictEqual(yield* shown, fingerprint(first), what)
      }
      yield* write(second)
      yield* now
      assert.strictEqual(yield* shown, fingerprint(second))
    }).pipe(Effect.scoped),
  )

  it.effect("ends no turn when it is another", () =>
    Effect.gen(function* () {
      const [first, second] = [selfSigned(loopback), selfSigned(loopback)]
      const { now, shown, simulator, url, write } = yield* listening(first)
      yield* simulator.failNext({ _tag: "Hold" })
      const init = {
        ...insecure,
        method: "POST",
        headers: { authorization: "Bearer test-key-a", "content-type": "application/json" },
        body: JSON.stringify({ model: "gpt-5.5", stream: true, input: "Tell me." }),
      }
      const reader = reading(yield* Effect.promise(() => fetch(`${url}/v1/responses`, init)))
      yield* reader.upTo("response.output_text.delta")
      yield* write(second)
      yield* now
      assert.strictEqual(yield* shown, fingerprint(second))
      const other = yield* Effect.promise(() => fetch(`${url}/healthz`, insecure))
      assert.strictEqual(other.status, 200)
      yield* simulator.release
      const { broken, text } = yield* reader.ending
      assert.isFalse(broken)
      assert.include(text, "response.completed")
    }).pipe(Effect.scoped),
  )
})
