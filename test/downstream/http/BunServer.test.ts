import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Schema, Scope, Stream } from "effect"
import { HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { NetAddress } from "effect/net"
import { TestClock } from "effect/testing"
import { ApiError } from "../../../src/downstream/ApiError.ts"
import * as BunServer from "../../../src/downstream/http/BunServer.ts"
import { utf8 } from "../../support/Bytes.ts"
import { talker } from "../../support/Talker.ts"

type App = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  ApiError | string,
  HttpServerRequest.HttpServerRequest | Scope.Scope
>

/** Serves the app; the listener lives in the test's scope, the serving in one that the test may close earlier. */
const serving = Effect.fnUntraced(function* (app: App, options: Partial<BunServer.Options> = {}) {
  const listener = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(listener, Exit.void))
  const context = yield* Layer.buildWithScope(BunServer.layer({ hostname: "127.0.0.1", port: 0, ...options }), listener)
  const server = Context.get(context, HttpServer.HttpServer)
  const scope = yield* Scope.fork(listener)
  yield* server.serve(app).pipe(Scope.provide(scope))
  const port = NetAddress.isInetAddress(server.address) ? server.address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    server,
    stopServing: Scope.close(scope, Exit.void),
    closeListener: Scope.close(listener, Exit.void),
  }
})

const get = (url: string, init?: RequestInit) => Effect.promise((signal) => fetch(url, { signal, ...init }))
const textOf = (response: Response) => Effect.promise(() => response.text())

const path = Effect.map(HttpServerRequest.HttpServerRequest, (request) => request.url)
const ok = Effect.map(path, (path) => HttpServerResponse.text(path))

const count = (text: string, part: string) => text.split(part).length - 1

const errorIn = (response: Response) =>
  Effect.map(
    Effect.promise(() => response.json()),
    (json) => Schema.decodeUnknownSync(ErrorBody)(json).error.code,
  )

/** Requests that probes and balancers make. */
const probes = ["GET /healthz", "HEAD /healthz", "GET /readyz", "GET /", "OPTIONS /readyz", "POST /v1/responses"]

const ErrorBody = Schema.Struct({
  error: Schema.Struct({ message: Schema.String, type: Schema.String, code: Schema.String, param: Schema.Null }),
})

describe("BunServer", () => {
  it.effect("serves requests, with the client's address, on the address it reports", () =>
    Effect.gen(function* () {
      const { server, url } = yield* serving(
        Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
          HttpServerResponse.text(JSON.stringify([request.url, request.remoteAddress])),
        ),
      )
      assert.strictEqual(HttpServer.formatAddress(server.address), url)
      const body = yield* Effect.flatMap(get(`${url}/a?b=c`), textOf)
      assert.include(body, `"/a?b=c"`)
      assert.include(body, "127.0.0.1")
    }),
  )

  it.effect("runs requests with the context of serve, its clock included", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(Effect.map(Clock.currentTimeMillis, (now) => HttpServerResponse.text(String(now))))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* Effect.flatMap(get(url), textOf), "3600000")
    }),
  )

  it.effect("closes a request's scope when its answer is ready, and for a stream when the body ends", () =>
    Effect.gen(function* () {
      const closed: Array<string> = []
      const go = yield* Deferred.make<void>()
      const app = Effect.gen(function* () {
        const url = yield* path
        yield* Effect.addFinalizer(() => Effect.sync(() => closed.push(url)))
        return url === "/stream"
          ? HttpServerResponse.stream(
              Stream.concat(Stream.make(new Uint8Array([97])), Stream.drain(Stream.fromEffect(Deferred.await(go)))),
            )
          : HttpServerResponse.text("plain")
      })
      const { url } = yield* serving(app)
      yield* Effect.flatMap(get(`${url}/plain`), textOf)
      const response = yield* get(`${url}/stream`)
      assert.deepStrictEqual(closed, ["/plain"])
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual(yield* textOf(response), "a")
      assert.deepStrictEqual(closed, ["/plain", "/stream"])
    }),
  )

  it.effect("interrupts the request's fiber when the client goes away", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const { url } = yield* serving(
        Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)),
        ),
      )
      const socket = yield* talker(url)
      socket.say("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* Deferred.await(begun)
      socket.leave()
      yield* Deferred.await(interrupted)
    }),
  )

  it.effect("passes a raw Response untouched and cancels its body when the client goes away", () =>
    Effect.gen(function* () {
      const cancelled = yield* Deferred.make<void>()
      const raw = new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(utf8("data: 1\n\n")),
          cancel: () => void Deferred.doneUnsafe(cancelled, Effect.void),
        }),
        { status: 201, headers: { "content-type": "text/event-stream", "x-raw": "yes" } },
      )
      const { url } = yield* serving(Effect.succeed(HttpServerResponse.raw(raw)))
      const socket = yield* talker(url)
      socket.say("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      const head = yield* socket.until((text) => text.includes("data: 1"))
      assert.match(head, /^HTTP\/1.1 201 /)
      assert.match(head, /x-raw: yes/i)
      socket.leave()
      yield* Deferred.await(cancelled)
    }),
  )

  it.effect("answers an unexpected failure with 500 in the API's shape and logs it once", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make<unknown, void>(
        ({ cause, logLevel }) => void (logLevel === "Error" && logged.push(String(cause))),
      )
      const app = Effect.flatMap(path, (path) =>
        path === "/die" ? Effect.die(new Error("a defect")) : Effect.fail("a failure"),
      )
      const { url } = yield* serving(app).pipe(Effect.provide(Logger.layer([logger])))
      for (const path of ["/die", "/fail"]) {
        const response = yield* get(url + path)
        assert.strictEqual(response.status, 500)
        assert.strictEqual(response.headers.get("content-type"), "application/json")
        assert.strictEqual(yield* errorIn(response), "internal_error")
      }
      assert.strictEqual(logged.length, 2)
      assert.include(logged[0], "a defect")
    }),
  )

  it.effect("answers 500 where the application's answer can't be sent, logs why, and lets go of its scope", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const logger = Logger.make<unknown, void>(
        ({ cause, logLevel }) => void (logLevel === "Error" && logged.push(String(cause))),
      )
      const answers: Record<string, HttpServerResponse.HttpServerResponse> = {
        "/status": HttpServerResponse.text("a", { status: 999 }),
        "/empty": HttpServerResponse.empty({ status: 150 }),
        "/header": HttpServerResponse.text("a", { headers: { "x-a": "b\r\nc: d" } }),
        "/stream": HttpServerResponse.stream(Stream.never, { status: 600 }),
        "/raw": HttpServerResponse.raw(new Response("a"), { headers: { "x a": "b" } }),
      }
      let released = 0
      const app = Effect.gen(function* () {
        yield* Effect.addFinalizer(() => Effect.sync(() => void released++))
        return answers[yield* path] ?? HttpServerResponse.text("fine")
      })
      const { url } = yield* serving(app).pipe(Effect.provide(Logger.layer([logger])))
      for (const [i, path] of Object.keys(answers).entries()) {
        const response = yield* get(url + path)
        assert.strictEqual(response.status, 500, path)
        assert.strictEqual(yield* errorIn(response), "internal_error")
        assert.strictEqual(released, i + 1)
        assert.strictEqual(logged.length, i + 1)
        assert.match(logged[i] ?? "", /RangeError|TypeError/)
      }
      assert.strictEqual(yield* Effect.flatMap(get(`${url}/fine`), textOf), "fine")
      assert.strictEqual(logged.length, 5)
    }),
  )

  it.effect("answers where the application interrupts itself", () =>
    Effect.gen(function* () {
      const app = Effect.flatMap(path, (path) =>
        path === "/interrupt" ? Effect.interrupt : Effect.succeed(HttpServerResponse.text("fine")),
      )
      const { url } = yield* serving(app)
      assert.isAtLeast((yield* get(`${url}/interrupt`)).status, 500)
      assert.strictEqual(yield* Effect.flatMap(get(`${url}/fine`), textOf), "fine")
    }),
  )

  it.effect("answers 431 at once to a head that is too large or has too many headers, and closes", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(ok)
      const headers = (count: number, size: number) =>
        Array.from({ length: count }, (_, i) => `x-${i}: ${"a".repeat(size)}\r\n`).join("")
      for (const head of [
        `GET /a HTTP/1.1\r\nhost: x\r\n${headers(1, 16 * 1024)}\r\n`,
        `GET /a HTTP/1.1\r\nhost: x\r\n${headers(1000, 1)}\r\n`,
        `GET /${"a".repeat(64 * 1024)} HTTP/1.1\r\nhost: x\r\n\r\n`,
        // Without an end: what is missing is not waited for.
        `GET /a HTTP/1.1\r\nhost: x\r\nx-a: ${"a".repeat(32 * 1024)}`,
      ]) {
        const socket = yield* talker(url)
        socket.say(head)
        assert.match(yield* socket.closed, /^HTTP\/1.1 431 /)
      }
      const socket = yield* talker(url)
      socket.say(`GET /fine HTTP/1.1\r\nhost: x\r\n${headers(150, 50)}\r\n`)
      yield* socket.until((text) => text.endsWith("/fine"))
      assert.strictEqual(yield* Effect.flatMap(get(`${url}/fine`), textOf), "/fine")
    }),
  )

  it.effect("answers an expected error as it says, without a line in the log", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ message }) => void logged.push(message))
      const { url } = yield* serving(Effect.fail(ApiError.badRequest("bad_thing", "It is bad."))).pipe(
        Effect.provide(Logger.layer([logger])),
      )
      const response = yield* get(url)
      assert.strictEqual(response.status, 400)
      assert.strictEqual(yield* errorIn(response), "bad_thing")
      assert.deepStrictEqual(logged, [])
    }),
  )

  it.effect("gives empty error answers the API's shape and leaves others alone", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(
        Effect.map(path, (path) => {
          const status = Number(path.slice(1))
          return status === 418
            ? HttpServerResponse.text("teapot", { status })
            : HttpServerResponse.empty({ status, headers: { "x-kept": "yes" } })
        }),
      )
      const missing = yield* get(`${url}/404`)
      assert.strictEqual(missing.status, 404)
      assert.strictEqual(missing.headers.get("x-kept"), "yes")
      assert.strictEqual(yield* errorIn(missing), "unknown_url")
      assert.strictEqual(yield* Effect.flatMap(get(`${url}/418`), textOf), "teapot")
      assert.strictEqual(yield* Effect.flatMap(get(`${url}/204`), textOf), "")
    }),
  )

  it.effect("answers HEAD with the head alone, lets go of a stream's resources and keeps the connection in step", () =>
    Effect.gen(function* () {
      const cancelled = yield* Deferred.make<void>()
      let released = 0
      const app = Effect.gen(function* () {
        const url = yield* path
        yield* Effect.addFinalizer(() => Effect.sync(() => void released++))
        if (url === "/stream") return HttpServerResponse.stream(Stream.never)
        if (url === "/raw")
          return HttpServerResponse.raw(
            new Response(new ReadableStream({ cancel: () => void Deferred.doneUnsafe(cancelled, Effect.void) })),
          )
        return HttpServerResponse.text("twelve bytes")
      })
      const { url } = yield* serving(app)
      const socket = yield* talker(url)
      for (const [i, url] of ["/text", "/stream", "/raw"].entries()) {
        socket.say(`HEAD ${url} HTTP/1.1\r\nhost: x\r\n\r\n`)
        const text = yield* socket.until((text) => count(text, "\r\n\r\n") === i + 1)
        assert.isTrue(text.endsWith("\r\n\r\n"))
        if (i === 0) assert.match(text, /content-length: 12/i)
      }
      yield* Deferred.await(cancelled)
      assert.strictEqual(released, 3)
      socket.say("GET /text HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* socket.until((text) => text.endsWith("twelve bytes"))
    }),
  )

  it.effect("answers pipelined requests in order, past errors and bodies nobody read", () =>
    Effect.gen(function* () {
      const app = Effect.flatMap(path, (path) =>
        path === "/bad"
          ? Effect.fail(ApiError.tooLarge("Too large."))
          : Effect.succeed(HttpServerResponse.text(`<${path}>`)),
      )
      const { url } = yield* serving(app)
      const socket = yield* talker(url)
      socket.say("GET /1 HTTP/1.1\r\nhost: x\r\n\r\n")
      socket.say("POST /bad HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello")
      socket.say("POST /bad HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
      socket.say("GET /2 HTTP/1.1\r\nhost: x\r\n\r\n")
      const text = yield* socket.until((text) => text.endsWith("</2>"))
      assert.strictEqual(count(text, "HTTP/1.1 200"), 2)
      assert.strictEqual(count(text, "HTTP/1.1 413"), 2)
      assert.strictEqual(count(text, "request_too_large"), 2)
    }),
  )

  it.effect("survives malformed requests", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(ok)
      for (const bad of ["\u0000 garbage\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /x HTTP/1.1\r\nhost: a b\r\n\r\n"]) {
        const socket = yield* talker(url)
        socket.say(bad)
        assert.match(yield* socket.until((text) => text.includes("\r\n\r\n")), /^HTTP\/1.1 /)
      }
      assert.strictEqual(yield* Effect.flatMap(get(`${url}/fine`), textOf), "/fine")
    }),
  )

  it.effect("leaves the size of a body to the application", () =>
    Effect.gen(function* () {
      const { url } = yield* serving(
        Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
          HttpServerResponse.text(`<${request.headers["content-length"]}>`),
        ),
      )
      const socket = yield* talker(url)
      socket.say("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 900000000000\r\n\r\n")
      yield* socket.until((text) => text.endsWith("<900000000000>"))
    }),
  )

  it.effect("drains when serving ends: 503 on new and kept connections, until the rest has finished", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const { closeListener, stopServing, url } = yield* serving(
        Effect.flatMap(path, (path) =>
          path === "/slow"
            ? Effect.as(
                Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go)),
                HttpServerResponse.text("slow done"),
              )
            : Effect.succeed(HttpServerResponse.text("quick")),
        ),
      )
      const half = yield* talker(url)
      half.say("GET /late HTTP/1.1\r\n")
      // Connections are accepted in order, so that with this answer the half request is the server's too.
      yield* Effect.flatMap(get(`${url}/quick`), textOf)
      const kept = yield* Effect.forEach(probes, () => talker(url))
      for (const connection of kept) {
        connection.say("GET /quick HTTP/1.1\r\nhost: x\r\n\r\n")
        yield* connection.until((text) => text.endsWith("quick"))
      }
      const slow = yield* Effect.forkChild(Effect.flatMap(get(`${url}/slow`), textOf))
      yield* Deferred.await(begun)
      const stopping = yield* Effect.forkChild(stopServing)
      yield* Effect.yieldNow
      half.say("host: x\r\n\r\n")
      const answer = yield* half.closed
      assert.include(answer, "HTTP/1.1 503")
      assert.include(answer, "server_shutdown")
      for (const [at, probe] of probes.entries()) {
        for (const connection of [kept[at], yield* talker(url)]) {
          connection?.say(`${probe} HTTP/1.1\r\nhost: x\r\n\r\n`)
          const said = (yield* connection?.closed ?? Effect.succeed("")).replace(/^HTTP\/1\.1 200[^]*quick/, "")
          assert.match(said, /^HTTP\/1\.1 503 /)
          assert.match(said, /\r\nretry-after: 1\r\n/i)
          assert.match(said, /\r\nconnection: close\r\n/i)
        }
      }
      assert.isUndefined(stopping.pollUnsafe())
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual(yield* Fiber.join(slow), "slow done")
      yield* Fiber.join(stopping)
      yield* closeListener
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.tryPromise(() => fetch(url)))))
    }),
  )

  it.effect("waits for raw streams too, and interrupts fibers after the drain's time-out", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const cancelled = yield* Deferred.make<void>()
      let interrupted = false
      const stuck = Effect.andThen(Deferred.succeed(begun, undefined), Effect.never).pipe(
        Effect.onInterrupt(() => Effect.sync(() => void (interrupted = true))),
      )
      const raw = () =>
        new Response(
          new ReadableStream({
            start: (controller) => controller.enqueue(new Uint8Array([97])),
            cancel: () => void Deferred.doneUnsafe(cancelled, Effect.void),
          }),
        )
      const { closeListener, stopServing, url } = yield* serving(
        Effect.flatMap(path, (path) => (path === "/stuck" ? stuck : Effect.succeed(HttpServerResponse.raw(raw())))),
        { drainTimeout: "10 seconds" },
      )
      const streaming = yield* talker(url)
      streaming.say("GET /raw HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* streaming.until((text) => text.includes("\r\n\r\n1\r\na"))
      const answer = yield* Effect.forkChild(get(`${url}/stuck`))
      yield* Deferred.await(begun)
      const stopping = yield* Effect.forkChild(stopServing)
      yield* TestClock.adjust("9 seconds")
      assert.isFalse(interrupted)
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(stopping)
      assert.isTrue(interrupted)
      const response = yield* Fiber.join(answer)
      assert.strictEqual(response.status, 503)
      assert.strictEqual(yield* errorIn(response), "server_shutdown")
      yield* closeListener
      yield* Deferred.await(cancelled)
      yield* streaming.closed
    }),
  )

  it.effect("waits for a raw stream to end before serving has ended", () =>
    Effect.gen(function* () {
      let finish = () => {}
      const raw = new Response(
        new ReadableStream({
          start: (controller) => {
            controller.enqueue(new Uint8Array([97]))
            finish = () => controller.close()
          },
        }),
      )
      const { closeListener, stopServing, url } = yield* serving(Effect.succeed(HttpServerResponse.raw(raw)))
      const streaming = yield* talker(url)
      streaming.say("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* streaming.until((text) => text.includes("\r\n\r\n1\r\na"))
      const stopping = yield* Effect.forkChild(stopServing)
      yield* Effect.yieldNow
      assert.isUndefined(stopping.pollUnsafe())
      finish()
      yield* Fiber.join(stopping)
      yield* closeListener
      assert.isTrue((yield* streaming.closed).endsWith("0\r\n\r\n"))
    }),
  )

  it.effect("names the reason when it cannot listen", () =>
    Effect.gen(function* () {
      const { port } = yield* serving(ok)
      const failing = (options: Partial<BunServer.Options>) =>
        Effect.flip(Layer.build(BunServer.layer({ hostname: "127.0.0.1", port: 0, ...options })))
      const used = yield* failing({ port })
      assert.strictEqual(used.reason, "AddressInUse")
      assert.strictEqual(used.message, `Cannot listen on 127.0.0.1:${port}: the port is in use`)
      for (const hostname of ["192.0.2.1", "not a name"]) {
        assert.strictEqual((yield* failing({ hostname })).reason, "AddressUnavailable", hostname)
      }
      assert.strictEqual((yield* failing({ tls: { cert: "no", key: "no" } })).reason, "Tls")
      assert.strictEqual((yield* failing({ port: 99_999 })).reason, "Other")
    }),
  )

  it.effect("answers 503 before serving begins, and frees the port when its layer's scope closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(BunServer.layer({ hostname: "127.0.0.1", port: 0 }), scope)
      const { address } = Context.get(context, HttpServer.HttpServer)
      const response = yield* get(HttpServer.formatAddress(address))
      assert.strictEqual(response.status, 503)
      assert.strictEqual(yield* errorIn(response), "server_starting")
      yield* Scope.close(scope, Exit.void)
      yield* serving(ok, { port: NetAddress.isInetAddress(address) ? address.port : 0 })
    }),
  )
})
