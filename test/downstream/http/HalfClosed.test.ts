/**
 * A client that closes its side once it has sent its request, and reads on: Bun's listener takes that for having left.
 *
 * So such a client gets no answer, and its turn is cancelled, as the page of differences says. The first table is of Bun alone: where
 * it fails, a newer Bun keeps half of a connection open, and respool can answer.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { agent } from "../../../src/simulator/Script.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import { connect } from "node:net"
import { TestProxy } from "../../support/TestProxy.ts"

/** Sends a text, closes its side with it or at the first byte of the answer, and gives all that came until the end. */
const halfClosed = (port: number, text: string, when: "at once" | "at the first byte" = "at once") =>
  Effect.callback<string>((resume) => {
    let came = ""
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true })
    socket.on("data", (data) => {
      came += data.toString()
      if (when === "at the first byte") socket.end()
    })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.succeed(came)))
    socket.on("end", () => socket.destroy())
    socket.write(text)
    if (when === "at once") socket.end()
    return Effect.sync(() => socket.destroy())
  })

const head = (method: string, path: string, ...headers: ReadonlyArray<string>) =>
  [`${method} ${path} HTTP/1.1`, "host: x", ...headers, "", ""].join("\r\n")

/** Bun's listener without anything of ours. It answers only once it has seen the client leave. */
const bare = Effect.acquireRelease(
  Effect.sync(() =>
    Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        const { promise: left, resolve } = Promise.withResolvers<void>()
        request.signal.addEventListener("abort", () => resolve())
        if (request.url.endsWith("/at-once")) return new Response("answer")
        await request.text()
        await left
        return new Response("answer")
      },
    }),
  ),
  (server) => Effect.promise(() => server.stop(true)),
)

const requests: ReadonlyArray<readonly [what: string, text: string]> = [
  ["with a length", `${head("POST", "/", "content-length: 2")}hi`],
  ["in chunks", `${head("POST", "/", "transfer-encoding: chunked")}2\r\nhi\r\n0\r\n\r\n`],
  ["without a body", head("GET", "/")],
  ["that says close", head("GET", "/", "connection: close")],
  ["of another method", head("DELETE", "/")],
  ["that asks for the head alone", head("HEAD", "/")],
  ["that offers a large body in two parts", `${head("POST", "/", "content-length: 70000")}${"x".repeat(70_000)}`],
  ["of HTTP/1.0", head("GET", "/").replace("HTTP/1.1", "HTTP/1.0")],
]

describe("Bun.serve, asked by a client that closes its side", () => {
  for (const [what, text] of requests) {
    it.effect(`aborts the request and sends no answer to one ${what}`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* halfClosed((yield* bare).port ?? 0, text), "")
      }).pipe(Effect.scoped),
    )
  }

  it.effect("sends an answer that is there at once", () =>
    Effect.gen(function* () {
      const text = yield* halfClosed((yield* bare).port ?? 0, head("GET", "/at-once"))
      assert.match(text, /^HTTP\/1\.1 200 [^]*answer$/)
    }).pipe(Effect.scoped),
  )
})

describe("A turn of a client that closes its side", () => {
  const ask = (stream: boolean) => {
    const body = JSON.stringify({ model: "gpt-5.5", input: "Hello", stream })
    const headers = ["authorization: Bearer test-key-a", "content-type: application/json"]
    return `${head("POST", "/v1/responses", ...headers, `content-length: ${body.length}`)}${body}`
  }
  for (const stream of [true, false]) {
    it.effect(`is cancelled, and its connection closed, stream: ${stream}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const proxy = yield* TestProxy
        const pool = yield* ConnectionPool
        yield* simulator.failNext({ _tag: "Stall" })
        const when = stream ? "at the first byte" : "at once"
        const text = yield* halfClosed(Number(new URL(proxy.url).port), ask(stream), when)
        assert.notInclude(text, "response.completed")
        yield* Effect.repeat(
          Effect.sync(() => pool.connections().length),
          { until: (count) => count === 0 },
        )
      }).pipe(Effect.provide(TestProxy.layer({ simulator: { script: agent({ rounds: 0 }) } }))),
    )
  }
})
