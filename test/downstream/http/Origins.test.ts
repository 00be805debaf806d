import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { appCredential } from "../../../src/turn/Caller.ts"
import type { SettingsOptions } from "../../../src/config/Settings.ts"
import { Settings } from "../../../src/config/Settings.ts"
import { AuthScope, BunServer, layerDialerBun, Ownership, Server } from "../../../src/Respool.ts"
import type { Asked } from "../../support/Ask.ts"
import { ask, errorOf } from "../../support/Ask.ts"
import { makeRecorder } from "../../support/Recorder.ts"
import { makeTenancy, startProxy } from "../../support/Tenancy.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const body = `{"model":"gpt-5.5","input":"Hello","store":false}`

/** A request for each kind of path that reaches the upstream. */
const requests: ReadonlyArray<readonly [what: string, path: string, asked: Asked]> = [
  ["a turn", "/responses", { body }],
  ["a turn as plain text", "/responses", { body, headers: { "content-type": "text/plain" } }],
  ["a turn as a form", "/responses", { body, headers: { "content-type": "application/x-www-form-urlencoded" } }],
  ["a compaction", "/responses/compact", { body }],
  ["the list of models", "/models", {}],
  ["the list of files", "/files", {}],
  ["a file's end", "/files/file_1", { method: "DELETE" }],
  ["a response", "/responses/resp_1", {}],
  ["a change", "/responses/resp_1/cancel", { method: "POST", body: "" }],
]

/** Headers that a browser sends for a page of another origin; `PORT` is the listener's. */
const foreign: ReadonlyArray<Readonly<Record<string, string>>> = [
  { origin: "http://attacker.test" },
  { origin: "https://attacker.test", "sec-fetch-site": "cross-site" },
  { origin: "null" },
  { origin: "http://127.0.0.1:1" },
  { origin: "https://127.0.0.1:PORT" },
  { origin: "http://localhost:PORT" },
  { origin: "http://127.0.0.1:PORT.attacker.test" },
  { origin: "http://127.0.0.1:PORT", "sec-fetch-site": "cross-site" },
  { origin: "" },
  { "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "same-site" },
  { "sec-fetch-site": "Cross-Site" },
  { "sec-fetch-site": "none, cross-site" },
  { "sec-fetch-site": "" },
]

/** Names that a page may have made lead here, and spellings that are no name of the listener. */
const strange = [
  "attacker.test",
  "attacker.test:PORT",
  "127.0.0.1.attacker.test:PORT",
  "localhost.attacker.test:PORT",
  "localhost.:PORT",
  "127.0.0.1:1",
  "127.0.0.1",
  "0.0.0.0:PORT",
  "[::]:PORT",
  "127.0.0.2:PORT",
  "2130706433:PORT",
]

const own = ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "[::1]:PORT"]

const upstream = (url: string): SettingsOptions => ({
  transport: "http",
  upstreams: [{ name: "u0", url, credential: { _tag: "Fixed", apiKey: Redacted.make("test-key-upstream") } }],
})

/** A proxy in front of a recorder; `at` writes the listener's port for `PORT`. */
const behind = Effect.fnUntraced(function* (settings: (url: string) => SettingsOptions) {
  const recorder = yield* makeRecorder(() => `{"id":"resp_1","object":"response","status":"completed","output":[]}`)
  const { url } = Context.get(yield* Layer.build(TestProxy.layerProxy(settings(recorder.url))), TestProxy)
  return { recorder, ...asking(url) }
})

const asking = (url: string) => {
  const { port } = new URL(url)
  const at = (headers: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replace("PORT", port)]))
  const send = (path: string, asked: Asked) =>
    ask(`${url}${path}`, { ...asked, headers: { ...asked.headers, ...at(asked.headers ?? {}) } })
  return { url, send }
}

/** `asked` with more headers. */
const also = (asked: Asked, headers: Readonly<Record<string, string>>): Asked => ({
  ...asked,
  headers: { ...asked.headers, ...headers },
})

const preflight = (method: string, headers: Readonly<Record<string, string>>): Asked => ({
  method: "OPTIONS",
  headers: {
    "access-control-request-method": method,
    "access-control-request-headers": "authorization,content-type",
    ...headers,
  },
})

describe("Where an upstream has a credential of its own", () => {
  it.effect("no request of a page of another origin goes there", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(upstream)
      for (const [what, path, asked] of requests) {
        for (const headers of foreign) {
          for (const key of [undefined, "test-key-a"]) {
            const answer = yield* send(path, also({ ...asked, key }, headers))
            const { code, status } = errorOf(answer)
            assert.deepStrictEqual({ status, code }, { status: 403, code: "origin_not_allowed" }, what)
            assert.isFalse(answer.headers.has("access-control-allow-origin"))
          }
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )

  it.effect("no request for another name goes there", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(upstream)
      for (const [what, path, asked] of requests) {
        for (const host of strange) {
          for (const headers of [{ host }, { host, origin: `http://${host}`, "sec-fetch-site": "same-origin" }]) {
            const { code, status } = errorOf(yield* send(path, also(asked, headers)))
            assert.deepStrictEqual({ status, code }, { status: 403, code: "host_not_allowed" }, `${what} ${host}`)
          }
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )

  it.effect("requests of no page, and of pages of the listener's own, go there under each of its names", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(upstream)
      for (const host of own) {
        for (const headers of [
          { host },
          { host, "sec-fetch-site": "none" },
          { host, "sec-fetch-site": "same-origin" },
          { host, origin: `http://${host}`, "sec-fetch-site": "same-origin" },
        ]) {
          for (const [what, path, asked] of requests) {
            const before = recorder.requests.length
            const { status } = yield* send(path, also(asked, headers))
            assert.strictEqual(status, 200, `${what} ${host}`)
            assert.lengthOf(recorder.requests, before + 1)
          }
        }
      }
    }).pipe(Effect.scoped),
  )

  it.effect("no preflight of another origin passes, on any path", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(upstream)
      for (const [, path, { body, method = body === undefined ? "GET" : "POST" }] of requests) {
        for (const headers of foreign.filter(({ origin }) => origin !== undefined)) {
          const answer = yield* send(path, preflight(method, headers))
          assert.strictEqual(errorOf(answer).status, 403)
          for (const name of answer.headers.keys()) assert.notMatch(name, /^access-control-/)
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )

  it.effect("a client certificate counts as one", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind((url) => ({
        transport: "http",
        upstreams: [{ name: "u0", url, tls: { cert: "cert", key: "key" } }],
      }))
      const answer = yield* send("/models", { key: "test-key-a", headers: { origin: "http://attacker.test" } })
      assert.strictEqual(answer.status, 403)
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )
})

describe("What the settings allow", () => {
  const allowing = (url: string): SettingsOptions => ({
    ...upstream(url),
    allowedOrigins: ["https://app.example", "chrome-extension://abcdef"],
    allowedHosts: ["llm.example", "other.example:9000"],
  })

  it.effect("are origins, which read the answers, errors too", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(allowing)
      for (const origin of ["https://app.example", "chrome-extension://abcdef"]) {
        for (const [what, path, asked] of requests) {
          const answer = yield* send(path, also(asked, { origin, "sec-fetch-site": "cross-site" }))
          assert.strictEqual(answer.status, 200, what)
          assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin)
          assert.strictEqual(answer.headers.get("vary"), "Origin")
        }
        const broken = yield* send("/responses", { body: "{", headers: { origin } })
        assert.strictEqual(broken.status, 400)
        assert.strictEqual(broken.headers.get("access-control-allow-origin"), origin)
      }
      assert.lengthOf(recorder.requests, 2 * requests.length)
      for (const origin of [
        "http://app.example",
        "https://app.example:8443",
        "https://sub.app.example",
        "https://app.example.attacker.test",
        "https://app.example, https://attacker.test",
      ]) {
        assert.strictEqual((yield* send("/models", { headers: { origin } })).status, 403, origin)
      }
      assert.lengthOf(recorder.requests, 2 * requests.length)
    }).pipe(Effect.scoped),
  )

  it.effect("are preflights for the methods that a path has", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(allowing)
      const headers = { origin: "https://app.example" }
      for (const [path, method, status, methods] of [
        ["/responses", "POST", 204, "POST"],
        ["/responses", "DELETE", 405, null],
        ["/files/file_1", "DELETE", 204, "GET, HEAD, POST, PUT, PATCH, DELETE"],
        ["/files/file_1", "TRACE", 405, null],
      ] as const) {
        const answer = yield* send(path, preflight(method, headers))
        assert.strictEqual(answer.status, status, `${method} ${path}`)
        assert.strictEqual(answer.headers.get("access-control-allow-origin"), "https://app.example")
        assert.strictEqual(answer.headers.get("access-control-allow-methods"), methods)
        if (status === 204) {
          assert.strictEqual(answer.headers.get("access-control-allow-headers"), "authorization,content-type")
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )

  it.effect("are names of the proxy, with any port or the one that is named", () =>
    Effect.gen(function* () {
      const { send } = yield* behind(allowing)
      for (const [host, status] of [
        ["llm.example", 200],
        ["LLM.example:1234", 200],
        ["other.example:9000", 200],
        ["other.example", 403],
        ["other.example:9001", 403],
        ["llm.example.attacker.test", 403],
        ["127.0.0.1:PORT", 200],
      ] as const) {
        assert.strictEqual((yield* send("/models", { headers: { host } })).status, status, host)
      }
    }).pipe(Effect.scoped),
  )
})

describe("The headers of CORS", () => {
  const theirs = {
    "access-control-allow-origin": "*",
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "x-request-id",
    "cross-origin-resource-policy": "cross-origin",
    "timing-allow-origin": "*",
  }

  it.effect("are never the upstream's, in an answer or a refusal", () =>
    Effect.gen(function* () {
      for (const status of [200, 429]) {
        const server = Bun.serve({
          hostname: "127.0.0.1",
          port: 0,
          fetch: () => new Response(`{"error":{"message":"No."}}`, { status, headers: { ...theirs, vary: "accept" } }),
        })
        yield* Effect.addFinalizer(() => Effect.promise(() => server.stop(true)))
        const settings = { upstreamUrl: `http://127.0.0.1:${server.port}/v1`, allowedOrigins: ["https://app.example"] }
        for (const transport of ["http", "websocket"] as const) {
          const layer = TestProxy.layerProxy({ ...settings, transport })
          const { send } = asking(Context.get(yield* Layer.build(layer), TestProxy).url)
          for (const [what, path, asked] of requests) {
            for (const origin of [undefined, "https://app.example"]) {
              const headers: Record<string, string> = origin === undefined ? {} : { origin }
              const answer = yield* send(path, also({ ...asked, key: "test-key-a" }, headers))
              for (const name of Object.keys(theirs)) {
                const ours: Record<string, string | undefined> = {
                  "access-control-allow-origin": origin,
                  ...(origin === undefined ? {} : { "access-control-expose-headers": "*" }),
                }
                assert.strictEqual(answer.headers.get(name), ours[name] ?? null, `${what} ${name}`)
              }
              assert.match(answer.headers.get("vary") ?? "", /(^|, )Origin$/)
            }
          }
        }
      }
    }).pipe(Effect.scoped),
  )
})

describe("Where only callers' credentials are used", () => {
  const passthrough = (url: string): SettingsOptions => ({ transport: "http", upstreamUrl: url })

  it.effect("a caller is asked for no name of the proxy, and with a credential for no origin", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(passthrough)
      for (const [what, path, asked] of requests) {
        for (const headers of [{ host: "llm.lan" }, { origin: "app://desktop" }]) {
          const answer = yield* send(path, also({ ...asked, key: "test-key-a" }, headers))
          assert.strictEqual(answer.status, 200, what)
          assert.isFalse(answer.headers.has("access-control-allow-origin"))
        }
      }
      assert.lengthOf(recorder.requests, 2 * requests.length)
    }).pipe(Effect.scoped),
  )

  it.effect("a page of another origin gets no leave to send one, and without one nothing goes upstream", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* behind(passthrough)
      for (const [, path, asked] of requests) {
        for (const headers of foreign) {
          assert.strictEqual(errorOf(yield* send(path, also(asked, headers))).status, 403)
          if (headers["origin"] === undefined) continue
          assert.strictEqual(errorOf(yield* send(path, preflight("POST", headers))).status, 403)
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
    }).pipe(Effect.scoped),
  )
})

describe("Where callers have keys", () => {
  it.effect("a page of another origin is refused also with a key, and preflights name only paths that there are", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const recorder = yield* makeRecorder(() => "{}")
      const { secret: key } = tenancy.a
      const allowed = { allowedOrigins: ["https://app.example"] }
      const { send } = asking((yield* startProxy(tenancy, recorder.url, { transport: "http", ...allowed })).url)
      for (const headers of [{ origin: "http://attacker.test" }, { host: "attacker.test" }]) {
        for (const [what, path, asked] of requests) {
          assert.strictEqual((yield* send(path, also({ ...asked, key }, headers))).status, 403, what)
        }
      }
      const origin = "https://app.example"
      for (const [path, method, status] of [
        ["/models", "GET", 204],
        ["/models", "POST", 405],
        ["/responses/resp_1", "DELETE", 204],
        ["/files", "GET", 404],
        ["/files/file_1", "DELETE", 404],
      ] as const) {
        const answer = yield* send(path, preflight(method, { origin }))
        assert.strictEqual(answer.status, status, `${method} ${path}`)
      }
      assert.deepStrictEqual(recorder.requests, [])
      assert.strictEqual((yield* send("/models", { key, headers: { origin } })).status, 200)
    }).pipe(Effect.scoped),
  )
})

describe("In an app that serves the routes", () => {
  const layerTeam = AuthScope.layer(() =>
    Effect.succeed({
      scope: "team",
      label: "team",
      credential: appCredential(Redacted.make("Bearer test-key-app")),
      tenant: false,
    }),
  )

  const app = (url: string, hostname: string, settings: SettingsOptions = {}) =>
    HttpRouter.serve(Server.layerRoutes, { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provide([layerTeam, Ownership.layerOff]),
      Layer.provide(Server.layerExecutor),
      Layer.provide(layerDialerBun),
      Layer.provide(Settings.layer({ upstreamUrl: url, transport: "http", ...settings })),
      Layer.provideMerge(BunServer.layer({ hostname, port: 0 })),
    )

  const started = Effect.fnUntraced(function* (hostname: string, settings?: SettingsOptions) {
    const recorder = yield* makeRecorder(() => "{}")
    const server = Context.get(yield* Layer.build(app(recorder.url, hostname, settings)), HttpServer.HttpServer)
    const { port } = new URL(HttpServer.formatAddress(server.address))
    return { recorder, port, ...asking(`http://127.0.0.1:${port}/v1`) }
  })

  it.effect("the app's credential is not spent by a page of another origin, nor under another name", () =>
    Effect.gen(function* () {
      const { recorder, send } = yield* started("127.0.0.1")
      for (const [what, path, asked] of requests) {
        for (const headers of [...foreign, ...strange.map((host) => ({ host }))]) {
          assert.strictEqual((yield* send(path, also(asked, headers))).status, 403, what)
        }
      }
      assert.deepStrictEqual(recorder.requests, [])
      for (const host of own) assert.strictEqual((yield* send("/models", { headers: { host } })).status, 200)
    }).pipe(Effect.scoped),
  )

  it.effect("a listener that others reach has every name until some are named, but no page under them", () =>
    Effect.gen(function* () {
      const open = yield* started("0.0.0.0")
      for (const [headers, status] of [
        [{ host: "llm.example" }, 200],
        [{ host: "10.0.0.1:9000" }, 200],
        [{ host: "10.0.0.1:9000", origin: "http://10.0.0.1:9000" }, 200],
        [{ host: "attacker.test", origin: "http://attacker.test" }, 403],
        [{ host: "llm.example", origin: "http://attacker.test" }, 403],
        [{ host: "llm.example", "sec-fetch-site": "same-site" }, 403],
      ] as const) {
        assert.strictEqual((yield* open.send("/models", { headers })).status, status, JSON.stringify(headers))
      }
      const named = yield* started("0.0.0.0", { allowedHosts: ["llm.example"] })
      for (const [host, status] of [
        ["llm.example", 200],
        ["attacker.test", 403],
        ["10.0.0.1:9000", 403],
      ] as const) {
        assert.strictEqual((yield* named.send("/models", { headers: { host } })).status, status, host)
      }
    }).pipe(Effect.scoped),
  )
})

describe("The probes", () => {
  it.effect("answer under every name, without leave for any page", () =>
    Effect.gen(function* () {
      const { send, url } = yield* behind(upstream)
      const root = url.replace(/\/v1$/, "")
      for (const path of ["/healthz", "/readyz"]) {
        const answer = yield* ask(`${root}${path}`, { headers: { host: "pod.local", origin: "http://attacker.test" } })
        assert.strictEqual(answer.status, 200)
        assert.isFalse(answer.headers.has("access-control-allow-origin"))
      }
      assert.strictEqual((yield* send("/models", {})).status, 200)
    }).pipe(Effect.scoped),
  )
})
