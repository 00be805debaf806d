/**
 * The floor's turn inside of Effect: how much of respool's turn is the price of the runtime that it is written on.
 *
 * The listener, the router and the logger are respool's; between them stands the floor's own few lines, and one fiber a
 * turn that lives until the terminal event. No scope, no limits, no digests, no pool, no time-outs.
 *
 *     PORT=4110 UPSTREAM_WS=ws://127.0.0.1:4100/v1/responses bun test/bench/effectFloor.ts
 */
import { Config, Effect, FiberSet, Layer, Logger } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as BunServer from "../../src/downstream/http/BunServer.ts"

interface Session {
  readonly ws: WebSocket
  readonly ready: Promise<void>
  event: (frame: string) => void
}

const sessions = new Map<string, Session>()

const connect = (id: string, url: string, authorization: string): Session => {
  const ws = new WebSocket(url, { headers: { authorization }, perMessageDeflate: false })
  const ready = new Promise<void>((open, fail) => {
    ws.onopen = () => open()
    ws.onerror = () => fail(new Error("upstream"))
  })
  const session: Session = { ws, ready, event: () => {} }
  ws.onmessage = ({ data }) => session.event(data as string)
  ws.onclose = () => void sessions.delete(id)
  sessions.set(id, session)
  return session
}

const typeOf = (frame: string): string => frame.slice(9, frame.indexOf('"', 9))

const routes = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const url = yield* Config.String("UPSTREAM_WS")
    const fibers = yield* FiberSet.make()
    const answer = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const text = yield* request.text
      const body = JSON.parse(text) as { readonly input: ReadonlyArray<unknown> }
      const id = request.headers["session-id"] ?? crypto.randomUUID()
      const session = sessions.get(id) ?? connect(id, url, request.headers["authorization"] ?? "")
      yield* Effect.promise(() => session.ready)
      const { promise, resolve } = Promise.withResolvers<ReadableStream<string>>()
      const turn = Effect.callback<number>((resume) => {
        const stream = new ReadableStream<string>({
          start: (controller) => {
            let events = 0
            session.event = (frame) => {
              events++
              const type = typeOf(frame)
              controller.enqueue(`event: ${type}\ndata: ${frame}\n\n`)
              if (type !== "response.completed") return
              controller.close()
              resume(Effect.succeed(events))
            }
            session.ws.send(`{"type":"response.create",${text.slice(text.indexOf("{") + 1)}`)
          },
        })
        resolve(stream)
      })
      const { length } = body.input
      yield* Effect.tap(turn, (events) =>
        Effect.annotateLogs(Effect.logInfo("turn"), { session: id, items: length, events, status: "completed" }),
      ).pipe(FiberSet.run(fibers))
      const stream = yield* Effect.promise(() => promise)
      return HttpServerResponse.raw(stream, { headers: { "content-type": "text/event-stream; charset=utf-8" } })
    })
    yield* router.add("POST", "/v1/responses", answer)
  }),
)

const server = Layer.unwrap(
  Effect.map(Config.Int("PORT"), (port) => BunServer.layer({ hostname: "127.0.0.1", port, drainTimeout: 0 })),
)

const say = Effect.flatMap(HttpServer.HttpServer, ({ address }) =>
  Effect.sync(() => process.stdout.write(`floor ${HttpServer.formatAddress(address)}/v1\n`)),
)

await Effect.runPromise(
  Effect.andThen(say, Effect.never).pipe(
    Effect.provide(
      HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(server),
        Layer.provideMerge(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])),
      ),
    ),
  ),
)
