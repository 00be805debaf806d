import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, FileSystem, Layer, Redacted } from "effect"
import { networkInterfaces } from "node:os"
import type { SettingsOptions } from "../../../src/config/Settings.ts"
import type { Asked } from "../../support/Ask.ts"
import { ask } from "../../support/Ask.ts"
import { TestProxy } from "../../support/TestProxy.ts"

type Headers = Readonly<Record<string, string>>

const token = "operator-token/a+b=="

/** A proxy that needs no upstream; `PORT` in a header is the listener's. */
const behind = Effect.fnUntraced(function* (settings: SettingsOptions = {}) {
  const context = yield* Layer.build(TestProxy.layerProxy({ upstreamUrl: "http://127.0.0.1:1/v1", ...settings }))
  const { origin, port } = new URL(Context.get(context, TestProxy).url)
  const at = (headers: Headers) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.replaceAll("PORT", port)]))
  return {
    port,
    send: (headers: Headers = {}, { path = "/metrics", ...asked }: Asked & { readonly path?: string } = {}) =>
      ask(`${origin}${path}`, { ...asked, headers: at(headers) }),
  }
})

/** All that an operator may look at. */
const paths = ["/metrics", "/_respool", "/_respool/", "/_respool/events", "/_respool/turns"]
/** Those that ask nobody for the token. */
const unasked = paths.filter((path) => !/_respool\/?$/.test(path))

/** What every URL that does not exist is answered, but for its path. */
const assertNothing = Effect.fnUntraced(function* (
  { send }: Effect.Success<ReturnType<typeof behind>>,
  headers: Headers,
  method = "GET",
  asked = paths,
) {
  const other = yield* send({}, { path: "/nothing", method })
  for (const path of asked) {
    const told = yield* send(headers, { path, method })
    assert.deepStrictEqual(
      [told.status, told.text, [...told.headers.keys()]],
      [404, other.text.replace("/nothing", path), [...other.headers.keys()]],
      `${path} ${JSON.stringify(headers)}`,
    )
  }
})

/** Headers of a browser for a page of another origin. */
const foreign: ReadonlyArray<Headers> = [
  { origin: "http://attacker.test" },
  { origin: "null" },
  { origin: "" },
  { origin: "http://localhost:3000" },
  { origin: "http://127.0.0.1:1" },
  { origin: "https://127.0.0.1:PORT" },
  { origin: "http://127.0.0.1:PORT.attacker.test" },
  { origin: "http://127.0.0.1:PORT", "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "cross-site" },
  { "sec-fetch-site": "same-site" },
  { "sec-fetch-site": "" },
]

/** Names in `Host` that a page may have made lead here, and what is no name of loopback. */
const strange: ReadonlyArray<Headers> = [
  "attacker.test",
  "attacker.test:PORT",
  "127.0.0.1.attacker.test:PORT",
  "localhost.attacker.test:PORT",
  "localhost.:PORT",
  "0.0.0.0:PORT",
  "[::]:PORT",
  "2130706433:PORT",
  "192.168.0.1:PORT",
].map((host) => ({ host }))

/** What a reverse proxy on this machine adds, in any spelling. */
const forwarded: ReadonlyArray<Headers> = [
  { "x-forwarded-for": "192.0.2.1" },
  { "x-forwarded-for": "127.0.0.1" },
  { "X-Forwarded-Host": "localhost" },
  { "x-forwarded-proto": "https" },
  { forwarded: "for=192.0.2.1" },
  { via: "1.1 edge" },
  { "x-real-ip": "192.0.2.1" },
  { "cf-connecting-ip": "192.0.2.1" },
  { "true-client-ip": "192.0.2.1" },
  { "tailscale-user-login": "somebody" },
]

const own: ReadonlyArray<Headers> = [
  {},
  { host: "localhost:PORT" },
  { host: "LOCALHOST:PORT" },
  { host: "[::1]:PORT" },
  { origin: "http://127.0.0.1:PORT", "sec-fetch-site": "same-origin" },
  { "sec-fetch-site": "none" },
  { authorization: "Bearer anything" },
]

const machine = Object.values(networkInterfaces())
  .flatMap((all) => all ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address

describe("/metrics without a token", () => {
  it.effect("answers this machine, by a name of loopback", () =>
    Effect.gen(function* () {
      const { send } = yield* behind()
      for (const headers of own) {
        const { headers: told, status, text } = yield* send(headers)
        assert.strictEqual(status, 200, JSON.stringify(headers))
        assert.strictEqual(told.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
        assert.isNull(told.get("access-control-allow-origin"))
        assert.include(text, "# TYPE respool_turns_running gauge\nrespool_turns_running 0\n")
      }
      const post = yield* send({}, { method: "POST" })
      assert.deepStrictEqual([post.status, post.headers.get("allow")], [405, "GET"])
    }).pipe(Effect.scoped),
  )

  it.effect("has nothing for a page of another origin, a foreign name, or what came through a proxy", () =>
    Effect.gen(function* () {
      const proxy = yield* behind()
      for (const headers of [...foreign, ...strange, ...forwarded]) yield* assertNothing(proxy, headers)
      yield* assertNothing(proxy, { origin: "http://attacker.test" }, "POST")
      yield* assertNothing(proxy, { origin: "http://attacker.test", "access-control-request-method": "GET" }, "OPTIONS")
    }).pipe(Effect.scoped),
  )

  it.effect("has nothing for pages that may use the proxy, nor under further names of it", () =>
    Effect.gen(function* () {
      const proxy = yield* behind({ allowedOrigins: ["https://app.test"], allowedHosts: ["proxy.test"] })
      yield* assertNothing(proxy, { origin: "https://app.test" })
      yield* assertNothing(proxy, { host: "proxy.test" })
    }).pipe(Effect.scoped),
  )

  it.effect.skipIf(machine === undefined)(
    `has nothing for another address of this machine${machine === undefined ? " (skipped: it has none)" : ""}`,
    () =>
      Effect.gen(function* () {
        const proxy = yield* behind({ host: "0.0.0.0" })
        assert.strictEqual((yield* proxy.send({ host: "localhost:PORT" })).status, 200)
        for (const host of ["localhost:PORT", `${machine}:PORT`]) {
          const { status } = yield* ask(`http://${machine}:${proxy.port}/metrics`, {
            headers: { host: host.replace("PORT", proxy.port) },
          })
          assert.strictEqual(status, 404, host)
        }
      }).pipe(Effect.scoped),
  )

  it.effect("has nothing where metrics are off", () =>
    Effect.gen(function* () {
      yield* assertNothing(yield* behind({ metrics: "off" }), {})
    }).pipe(Effect.scoped),
  )
})

describe("/metrics with a token", () => {
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  const withToken: ReadonlyArray<readonly [what: string, settings: (file: string) => SettingsOptions]> = [
    ["of the settings", () => ({ operatorToken: Redacted.make(token) })],
    ["of a file", (file) => ({ operatorTokenFile: file })],
  ]
  for (const [what, settings] of withToken) {
    it.effect(`${what} answers whoever has it, and has nothing for anybody else`, () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const file = yield* fs.makeTempFileScoped()
        yield* fs.writeFileString(file, `${token}\n`)
        const proxy = yield* behind(settings(file))
        for (const headers of [{}, ...strange, ...forwarded]) {
          const { status } = yield* proxy.send({ ...headers, ...bearer(token) })
          assert.strictEqual(status, 200, JSON.stringify(headers))
        }
        for (const headers of own) yield* assertNothing(proxy, headers, "GET", unasked)
        for (const headers of foreign) yield* assertNothing(proxy, { ...headers, ...bearer(token) })
        const wrong = [
          `${token}x`,
          token.slice(0, -1),
          token.toUpperCase(),
          `${token} ${token}`,
          encodeURIComponent(token),
        ]
        for (const one of wrong) yield* assertNothing(proxy, bearer(one), "GET", unasked)
        yield* assertNothing(proxy, { authorization: token }, "GET", unasked)
        yield* assertNothing(
          proxy,
          { authorization: `Basic ${Buffer.from(`:${token}`).toString("base64")}` },
          "GET",
          unasked,
        )
        yield* assertNothing(proxy, { cookie: `token=${token}` }, "GET", unasked)
        const { status } = yield* proxy.send({}, { path: `/metrics?token=${token}` })
        assert.strictEqual(status, 404)
      }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
    )
  }

  it.effect("does not start with a file that holds none", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const file = yield* fs.makeTempFileScoped()
      for (const text of ["", "two words", "ü"]) {
        yield* fs.writeFileString(file, text)
        const exit = yield* Effect.exit(Effect.scoped(behind({ operatorTokenFile: file })))
        assert.include(Exit.isFailure(exit) ? String(exit.cause) : "", "RESPOOL_OPERATOR_TOKEN_FILE", text)
      }
      const exit = yield* Effect.exit(Effect.scoped(behind({ operatorTokenFile: `${file}.none` })))
      assert.include(Exit.isFailure(exit) ? String(exit.cause) : "", "can't be read")
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})
