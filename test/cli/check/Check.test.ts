import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Deferred, Effect, Fiber, FileSystem, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { fileURLToPath } from "node:url"
import packageJson from "../../../package.json" with { type: "json" }
import type { ExamineOptions, Report, Target } from "../../../src/cli/check/Examine.ts"
import { examine } from "../../../src/cli/check/Examine.ts"
import { firstModel } from "../../../src/cli/check/Models.ts"
import { Reach, ReachError } from "../../../src/cli/check/Reach.ts"
import type { SimulatorOptions } from "../../../src/simulator/Simulator.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { layerBun } from "../../../src/upstream/dialer/DialerBun.ts"
import { leftOut, saying } from "../../support/ByName.ts"
import { folder, run } from "../../support/Command.ts"
import { PlainUpstream } from "../../support/PlainUpstream.ts"
import { rawUpstream } from "../../support/RawUpstream.ts"
import { authority, loopback } from "../../support/Certificate.ts"
import { connectProxy, tlsFront } from "../../support/ConnectProxy.ts"
import { serve } from "../../support/Serve.ts"
import { socketsOpen } from "../../support/OpenSockets.ts"

const why = leftOut(import.meta.url, "it starts the command line nine times")

const secret = "test-key-a"
const layer = Layer.mergeAll(Reach.layer, layerBun, FetchHttpClient.layer)

const look = (url: string, target: Partial<Target> = {}, options: Partial<ExamineOptions> = {}) =>
  examine(
    {
      name: "default",
      url,
      headers: Redacted.make({ authorization: `Bearer ${secret}` }),
      transport: "auto",
      tls: undefined,
      tlsVerify: "on",
      proxy: undefined,
      ...target,
    },
    { timeout: 15_000, turn: true, model: undefined, ...options },
  )

const outcomes = ({ steps }: Report) => steps.map(({ name, outcome }) => `${outcome} ${name}`)

/** What was said of a step; nothing that is said holds the secret. */
const said = (report: Report, name: string) => {
  assert.notInclude(JSON.stringify(report), secret)
  assert.notInclude(JSON.stringify(report), "test-pass")
  return report.steps.find((step) => step.name === name)?.message ?? ""
}

const simulated = <E>(
  name: string,
  options: SimulatorOptions,
  body: Effect.Effect<void, E, Simulator | Layer.Success<typeof layer> | Scope.Scope>,
) => it.effect(name, () => body.pipe(Effect.provide(Layer.merge(Simulator.layer(options), layer))))

describe("An examination", () => {
  simulated(
    "finds that turns go over WebSocket and continue, for one answer, and leaves no socket open",
    { apiKeys: [secret] },
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const report = yield* look(simulator.url)
      const all = ["connect", "upgrade", "authenticate", "models", "warm-up", "turn"]
      assert.deepStrictEqual(
        outcomes(report),
        all.map((name) => `ok ${name}`),
      )
      assert.strictEqual(report.verdict, "Turns go over WebSocket and continue.")
      assert.strictEqual(report.exitCode, 0)
      assert.strictEqual(simulator.counters.executions, 1)
      const [warmUp, turn] = simulator.turns
      assert.strictEqual(warmUp?.generate, false)
      assert.strictEqual(turn?.request?.previous_response_id, warmUp?.responseId)
      assert.strictEqual(turn?.request?.model, "gpt-5.5")
      yield* socketsOpen(simulator, 0)
    }),
  )

  simulated(
    "goes through a proxy with a password, to an upstream with a private CA",
    { apiKeys: [secret] },
    Effect.gen(function* () {
      const ca = authority()
      const port = yield* tlsFront((yield* Simulator).port, ca.leaf(loopback))
      const proxy = yield* connectProxy({ user: "me:test-pass" })
      const report = yield* look(`https://127.0.0.1:${port}/v1`, {
        tls: { ca: ca.cert },
        proxy: proxy.with("me:test-pass"),
      })
      assert.deepStrictEqual(outcomes(report).slice(0, 4), ["ok connect", "ok tunnel", "ok tls", "ok upgrade"])
      assert.strictEqual(report.exitCode, 0, JSON.stringify(report))
      for (const target of yield* proxy.seen) assert.strictEqual(target, `CONNECT 127.0.0.1:${port}`)
    }),
  )

  simulated(
    "asks the model that it is told to ask, and tries no turn where none is wanted",
    {},
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* look(simulator.url, {}, { model: "m" })
      assert.deepStrictEqual(
        simulator.turns.map(({ request }) => request?.model),
        ["m", "m"],
      )
      const report = yield* look(simulator.url, {}, { turn: false })
      assert.strictEqual(simulator.turns.length, 2)
      assert.strictEqual(report.verdict, "The WebSocket opens; no turn was tried.")
      assert.strictEqual(report.exitCode, 0)
    }),
  )

  it.effect("names a host that is not there, and looks no further", () =>
    Effect.gen(function* () {
      const reach = yield* Reach
      const lost = { ...reach, resolve: () => Effect.fail(new ReachError({ code: "ENOTFOUND", message: "" })) }
      const report = yield* Effect.provideService(look("https://api.test/v1"), Reach, lost)
      assert.deepStrictEqual(outcomes(report), ["FAIL resolve"])
      assert.match(said(report, "resolve"), /no host api\.test \(ENOTFOUND\): check RESPOOL_UPSTREAM_URL/)
      assert.strictEqual(report.exitCode, 1)
      const proxy = Redacted.make("http://me:test-pass@proxy.test:3128")
      const behind = yield* Effect.provideService(look("https://api.test/v1", { proxy }), Reach, lost)
      assert.match(said(behind, "resolve"), /no host proxy\.test \(ENOTFOUND\): check RESPOOL_PROXY/)
    }).pipe(Effect.provide(layer)),
  )

  simulated(
    "says that nothing listens",
    {},
    Effect.gen(function* () {
      const simulator = yield* Simulator
      yield* simulator.listen(false)
      const report = yield* look(simulator.url)
      assert.deepStrictEqual(outcomes(report), ["FAIL connect"])
      assert.match(said(report, "connect"), /nothing listens there \(ECONNREFUSED\)/)
      assert.strictEqual(report.exitCode, 1)
    }),
  )

  simulated(
    "tells a key that is not accepted from one that is not there",
    { apiKeys: ["test-key-b"] },
    Effect.gen(function* () {
      const { url } = yield* Simulator
      const wrong = yield* look(url)
      assert.deepStrictEqual(outcomes(wrong), ["ok connect", "ok upgrade", "FAIL authenticate", "FAIL models"])
      assert.match(said(wrong, "authenticate"), /not accepted \(401\).*RESPOOL_UPSTREAM_API_KEY/)
      assert.match(wrong.verdict, /^Does not work: the key was not accepted/)
      assert.strictEqual(wrong.exitCode, 1)
      const none = yield* look(url, { headers: undefined })
      assert.deepStrictEqual(outcomes(none), [
        "warn credential",
        "ok connect",
        "ok upgrade",
        "warn authenticate",
        "warn models",
      ])
      assert.match(none.verdict, /^Whether turns work could not be tried: there is no credential/)
      assert.strictEqual(none.exitCode, 1)
    }),
  )

  simulated(
    "finds that it works over HTTP only where there is no WebSocket",
    { websocket: "off" },
    Effect.gen(function* () {
      const simulator = yield* Simulator
      for (const status of [404, 405, 426, 501] as const) {
        yield* simulator.configure({ websocketOffStatus: status })
        const report = yield* look(simulator.url)
        assert.deepStrictEqual(outcomes(report), ["ok connect", "FAIL upgrade", "ok models"])
        assert.match(report.verdict, new RegExp(`^Works over HTTP only: there is no WebSocket \\(${status}\\)`))
        assert.strictEqual(report.exitCode, 2)
      }
      assert.strictEqual((yield* look(simulator.url, { transport: "websocket" })).exitCode, 1)
      const http = yield* look(simulator.url, { transport: "http" })
      assert.deepStrictEqual(outcomes(http), ["ok connect", "ok models"])
      assert.strictEqual(http.exitCode, 2)
    }),
  )

  simulated(
    "says what is wrong with a certificate, and warns where nobody looks at it",
    {},
    Effect.gen(function* () {
      const { port: plain } = yield* Simulator
      const ca = authority()
      const port = yield* tlsFront(plain, ca.leaf(loopback))
      const { address } = yield* connectProxy()
      for (const proxy of [undefined, address]) {
        const unknown = yield* look(`https://127.0.0.1:${port}/v1`, { proxy })
        assert.match(said(unknown, "tls"), /CA that is not known here.*RESPOOL_TLS_CA/)
        assert.strictEqual(unknown.exitCode, 1)
      }
      const off = yield* look(`https://127.0.0.1:${port}/v1`, { tlsVerify: "off" })
      assert.include(outcomes(off), "warn tls")
      assert.strictEqual(off.exitCode, 0)
      const other = yield* tlsFront(plain, ca.leaf("other.test"))
      const misnamed = yield* look(`https://127.0.0.1:${other}/v1`, { tls: { ca: ca.cert } })
      assert.match(said(misnamed, "tls"), /is not for 127\.0\.0\.1/)
      assert.match(said(yield* look(`https://127.0.0.1:${plain}/v1`), "tls"), /speaks no TLS/)
    }),
  )

  simulated(
    "says what a proxy refuses, and that a proxy over TLS is none for sockets",
    {},
    Effect.gen(function* () {
      const { port: plain, url } = yield* Simulator
      const ca = authority()
      const secure = `https://127.0.0.1:${yield* tlsFront(plain, ca.leaf(loopback))}/v1`
      const strict = yield* connectProxy({ user: "me:another" })
      for (const target of [secure, url]) {
        const report = yield* look(target, { tls: { ca: ca.cert }, proxy: strict.with("me:test-pass") })
        assert.match(said(report, "tunnel"), /wants credentials.*\(407\): set RESPOOL_PROXY/)
        assert.strictEqual(report.exitCode, 1)
      }
      const closed = yield* connectProxy({ refuse: 403 })
      assert.match(said(yield* look(secure, { proxy: closed.address }), "tunnel"), /\(403\): have it allowed/)
      const inTls = yield* connectProxy({ tls: ca.leaf(loopback) })
      const report = yield* look(secure, { tls: { ca: ca.cert }, proxy: inTls.address })
      assert.match(said(report, "upgrade"), /no TLS inside TLS.*use an http: proxy/)
    }),
  )

  simulated(
    "waits for nothing longer than it may",
    { websocket: "hang" },
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const upgrading = yield* Effect.forkChild(look(simulator.url))
      yield* simulator.until(({ counters }) => counters.hangingUpgrades === 1)
      yield* TestClock.adjust(15_000)
      const hung = yield* Fiber.join(upgrading)
      assert.deepStrictEqual(outcomes(hung), ["ok connect", "FAIL upgrade", "ok models"])
      assert.match(said(hung, "upgrade"), /no answer within 15s/)
      assert.strictEqual(hung.steps[1]?.ms, 15_000)
      assert.strictEqual(hung.exitCode, 2)

      yield* simulator.configure({ websocket: "on" })
      yield* simulator.failNext()
      yield* simulator.failNext({ _tag: "Stall", at: 1 })
      const talking = yield* Effect.forkChild(look(simulator.url))
      yield* simulator.until(({ counters }) => counters.executions === 1)
      yield* TestClock.adjust(15_000)
      const stalled = yield* Fiber.join(talking)
      assert.deepStrictEqual(outcomes(stalled).slice(-2), ["ok warm-up", "FAIL turn"])
      assert.strictEqual(stalled.exitCode, 2)
    }),
  )

  it.effect("waits for no list of models longer than it may", () =>
    Effect.gen(function* () {
      const asked = yield* Deferred.make<void>()
      const { port } = yield* rawUpstream((line, { head }) => {
        if (head.startsWith("GET /v1/models ")) Deferred.doneUnsafe(asked, Effect.void)
        else line.write("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
      })
      const examining = yield* Effect.forkChild(look(`http://127.0.0.1:${port}/v1`))
      yield* Deferred.await(asked)
      yield* TestClock.adjust(15_000)
      const report = yield* Fiber.join(examining)
      assert.deepStrictEqual(outcomes(report), ["ok connect", "FAIL upgrade", "FAIL models"])
      assert.strictEqual(report.exitCode, 1)
    }).pipe(Effect.provide(layer)),
  )

  const models = () => Response.json({ data: [{ id: "m" }] })
  const completed = JSON.stringify({ type: "response.completed", response: { id: "resp_1" } })
  const refusal = (status: number, error: object) => JSON.stringify({ type: "error", status, error })
  const answering = (turn: string, warmUp = completed) =>
    Layer.merge(
      layer,
      PlainUpstream.layer({
        frames: (message) => [message.includes('"generate":false') ? warmUp : turn],
        http: models,
      }),
    )

  it.effect("finds that nothing continues where the anchor is refused", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* PlainUpstream
      const report = yield* look(url)
      assert.deepStrictEqual(outcomes(report).slice(-2), ["ok warm-up", "FAIL turn"])
      assert.match(said(report, "turn"), /nothing can be continued here: set RESPOOL_TRANSPORT=http/)
      assert.match(report.verdict, /^Works over HTTP only: /)
      assert.strictEqual(report.exitCode, 2)
      assert.strictEqual(heard.filter(({ method }) => method === "WS").length, 2)
    }).pipe(Effect.provide(answering(refusal(400, { code: "previous_response_not_found", message: "gone" })))),
  )

  it.effect("goes on without a warm-up where there is none, and does not claim that turns continue", () =>
    Effect.gen(function* () {
      const { heard, url } = yield* PlainUpstream
      const report = yield* look(url)
      assert.deepStrictEqual(outcomes(report).slice(-2), ["warn warm-up", "ok turn"])
      assert.match(report.verdict, /whether they continue could not be shown/)
      assert.strictEqual(report.exitCode, 0)
      assert.notInclude(heard.at(-1)?.body ?? "", "previous_response_id")
    }).pipe(Effect.provide(answering(completed, refusal(400, { code: "unknown_parameter", message: "generate?" })))),
  )

  it.effect("shows why a turn was refused, in one line, without the key that the upstream repeats", () =>
    Effect.gen(function* () {
      const { url } = yield* PlainUpstream
      const report = yield* look(url)
      assert.strictEqual(
        said(report, "turn"),
        "the upstream refused it (400 model_not_found): no model m for [redacted] here; choose another model with --model",
      )
      assert.match(report.verdict, /^Does not work: the upstream refused it/)
      assert.strictEqual(report.exitCode, 1)
    }).pipe(
      Effect.provide(
        answering(refusal(400, { code: "model_not_found", message: `no model m for ${secret}\n\u001bhere` })),
      ),
    ),
  )

  simulated(
    "knows a firewall's page from the API's own refusal",
    {},
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const headers = { "content-type": "text/html" }
      yield* simulator.configure({ upgradeRefusal: { status: 403, headers, body: `<html>${secret}</html>` } })
      const page = yield* look(simulator.url)
      assert.match(said(page, "authenticate"), /a firewall or a sign-in/)
      assert.match(page.verdict, /HTTP does: set RESPOOL_TRANSPORT=http/)
      assert.strictEqual(page.exitCode, 1)
      yield* simulator.configure({ upgradeRefusal: { status: 403 } })
      assert.match(said(yield* look(simulator.url), "authenticate"), /check its rights/)
    }),
  )

  it("takes the first model that answers in text", () => {
    assert.strictEqual(firstModel(["text-embedding-3-large", "whisper-1", "gpt-5.5"]), "gpt-5.5")
    assert.strictEqual(firstModel(["whisper-1"]), "whisper-1")
    assert.strictEqual(firstModel([]), undefined)
  })
})

it.layer(Layer.merge(NodeFileSystem.layer, Simulator.layer({ apiKeys: [secret] })))("respool check", (it) => {
  it.effect.skipIf(why !== undefined)(`exits by what it found, and prints no secret${saying(why)}`, () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const cwd = yield* folder
      const check = Effect.fnUntraced(function* (args: ReadonlyArray<string>, env: Record<string, string>) {
        const ran = yield* run(["check", ...args], { cwd, env: { RESPOOL_UPSTREAM_URL: simulator.url, ...env } })
        assert.notInclude(ran.stdout + ran.stderr, "test-key")
        return ran
      })
      const good = yield* check([], { OPENAI_API_KEY: secret })
      assert.strictEqual(good.code, 0, good.stderr)
      assert.strictEqual(good.stderr, "")
      const lines = good.stdout.split("\n")
      assert.strictEqual(lines[0], `default: ${simulator.url}`)
      for (const line of lines.slice(1, -2)) assert.match(line, /^ok {4}[a-z-]+ +\d+ ms {2}\S/)
      assert.deepStrictEqual(lines.slice(-2), ["Turns go over WebSocket and continue.", ""])

      const wrong = yield* check(["--json"], { RESPOOL_UPSTREAM_API_KEY: "test-key-b", OPENAI_API_KEY: secret })
      assert.strictEqual(wrong.code, 1)
      assert.strictEqual(wrong.stderr, "")
      const { exitCode, upstreams } = JSON.parse(wrong.stdout)
      assert.strictEqual(exitCode, 1)
      assert.match(upstreams[0].verdict, /^Does not work: the key was not accepted/)

      const none = yield* check(["--no-turn"], {})
      assert.strictEqual(none.code, 1)
      assert.include(none.stdout, "there is no credential; set RESPOOL_UPSTREAM_API_KEY or OPENAI_API_KEY")

      yield* simulator.configure({ websocket: "off" })
      assert.strictEqual((yield* check([], { OPENAI_API_KEY: secret })).code, 2)

      const broken = yield* check([], { OPENAI_API_KEY: "test-key\u00e9" })
      assert.strictEqual(broken.code, 1)
      assert.strictEqual(broken.stderr, "respool: OPENAI_API_KEY: expected a text of visible ASCII characters\n")
    }),
  )
})

it.layer(NodeFileSystem.layer)("Dockerfile", (it) => {
  const root = fileURLToPath(new URL("../../..", import.meta.url))

  it.effect("has the pinned runtime, copies what there is, and runs the command as nobody special", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const text = yield* fs.readFileString(`${root}/Dockerfile`)
      const given = (name: string) =>
        [...text.replace(/\\\n\s*/g, "").matchAll(new RegExp(`^${name} (.*)$`, "gm"))].map(([, rest = ""]) => rest)
      const images = given("FROM").map((from) => from.split(" ")[0])
      const image = `oven/bun:${packageJson.devDependencies.bun}-slim`
      assert.deepStrictEqual(images, [image, image])
      assert.isTrue(Bun.semver.satisfies(packageJson.devDependencies.bun, packageJson.engines.bun))

      const ignored = (yield* fs.readFileString(`${root}/.dockerignore`)).trim().split("\n")
      const copied = given("COPY")
        .filter((copy) => !copy.startsWith("--from="))
        .flatMap((copy) => copy.split(" ").slice(0, -1))
      for (const path of copied) {
        assert.isTrue(yield* fs.exists(`${root}/${path}`), path)
        assert.include(ignored, `!${path}`)
      }
      // All that the package says it needs to run, and the lock that its dependencies are held to.
      for (const path of [
        "package.json",
        "bun.lock",
        "bunfig.toml",
        // What an app imports, and what looks for Bun, is of no use in an image that starts the sources.
        ...packageJson.files.filter((file) => !["README.md", "bin", "dist"].includes(file)),
      ]) {
        assert.include(copied, path)
      }
      assert.deepStrictEqual(given("RUN")[0], "bun install --frozen-lockfile --production")

      assert.deepStrictEqual(JSON.parse(given("ENTRYPOINT")[0] ?? ""), ["bun", "/app/src/main.ts"])
      assert.deepStrictEqual(JSON.parse(given("CMD").at(-1) ?? ""), ["serve"])
      assert.deepStrictEqual(given("USER"), ["bun"])
      assert.deepStrictEqual(given("STOPSIGNAL"), ["SIGTERM"])
      assert.include(given("ENV").join(" ").split(" "), "RESPOOL_HOST=0.0.0.0")
    }),
  )

  it.effect.skipIf(why !== undefined)(
    `asks for its health in a way that fails where nobody is healthy${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const text = yield* fs.readFileString(`${root}/Dockerfile`)
        const [, ...args]: Array<string> = JSON.parse(/HEALTHCHECK [^[]*CMD (\[.*\])$/m.exec(text)?.[1] ?? "[]")
        let status = 200
        const asked: Array<string> = []
        const { port, stop } = yield* serve(({ url }) => {
          asked.push(new URL(url).pathname)
          return new Response("", { status })
        })
        const health = Effect.promise(
          () =>
            Bun.spawn([process.execPath, ...args.map((arg) => arg.replace(/^\/app\//, `${root}/`))], {
              env: { RESPOOL_PORT: String(port) },
              stdout: "ignore",
              stderr: "ignore",
            }).exited,
        )
        assert.strictEqual(yield* health, 0)
        status = 503
        assert.strictEqual(yield* health, 1)
        assert.deepStrictEqual(asked, ["/readyz", "/readyz"])
        yield* stop
        assert.notStrictEqual(yield* health, 0)
      }),
  )
})
