/**
 * Carries a turn over plain HTTP, with the client's own bytes: the way that always works.
 *
 * The same contract as the socket's: events to the sink, a `TurnError` with what was delivered. A JSON answer arrives as
 * one terminal event that holds it, so that whoever reads the events need not know the difference.
 */
import { Context, Effect, Layer, Stream } from "effect"
import { Sse } from "effect/encoding"
import { Executor } from "../turn/Executor.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnSink } from "../turn/Executor.ts"
import type { ForwardAnswer } from "../turn/Forwarder.ts"
import { Forwarder } from "../turn/Forwarder.ts"
import { OutputCollector } from "../turn/OutputCollector.ts"
import { TurnError } from "../turn/TurnError.ts"
import { eventType, isTerminal } from "../wire/Event.ts"
import { errorOf } from "../wire/UpstreamError.ts"

export class HttpExecutor extends Context.Service<HttpExecutor, TurnExecutor>()("respool/upstream/HttpExecutor") {
  static readonly layerNoDeps = Layer.effect(
    HttpExecutor,
    Effect.suspend(() => make),
  )

  /** HTTP alone, without sockets. */
  static readonly layerExecutor = Layer.effect(Executor, HttpExecutor)
}

const make = Effect.gen(function* () {
  const { forward } = yield* Forwarder

  const readText = ({ body }: ForwardAnswer) => body.pipe(Stream.decodeText(), Stream.mkString)

  const readJson = (answer: ForwardAnswer, sink: TurnSink) =>
    Effect.map(readText(answer), (text) => {
      const frame = `{"type":"response.completed","response":${text}}`
      const { end } = new OutputCollector().finish("response.completed", frame)
      sink.event("response.completed", frame)
      return end
    })

  const readEvents = ({ body }: ForwardAnswer, sink: TurnSink) => {
    const collector = new OutputCollector()
    let ended: TurnEnd | undefined
    return body.pipe(
      Stream.decodeText(),
      Stream.pipeThroughChannel(Sse.decode({ maxEventSize: Number.MAX_SAFE_INTEGER })),
      Stream.mapError((error) => (error instanceof TurnError ? error : unreadable(error))),
      Stream.runForEach(({ data }) => {
        const type = eventType(data)
        // `[DONE]` and whatever else is no event of the API's ends here.
        if (type === undefined || ended !== undefined) return Effect.void
        if (!isTerminal(type)) {
          collector.add(type, data)
          if (sink.event(type, data)) return Effect.void
          return Effect.callback<void>((resume) => sink.onDrain(() => resume(Effect.void)))
        }
        if (type === "error") {
          const error = errorOf(data)
          return Effect.fail(
            new TurnError({
              reason: "upstream_error",
              delivery: "Rejected",
              message: error?.message ?? "the upstream answered with an error",
              event: data,
            }),
          )
        }
        const { frame, end } = collector.finish(type, data)
        ended = end
        sink.event(type, frame)
        return Effect.void
      }),
      Effect.flatMap(() =>
        ended === undefined
          ? Effect.fail(
              new TurnError({
                reason: "upstream_closed",
                delivery: "Accepted",
                message: "the upstream ended its stream without a terminal event",
              }),
            )
          : Effect.succeed(ended),
      ),
    )
  }

  const execute = Effect.fn("HttpExecutor.execute")(function* (turn: TurnRequest, sink: TurnSink) {
    const items = turn.body.items?.length ?? 0
    sink.route({
      transport: "http",
      connection: "new",
      input: "full",
      reason: "transport_http",
      connectionId: 0,
      itemsSent: items,
      items,
      bytesUp: turn.body.bytes.length,
    })
    const answer = yield* forward({
      method: "POST",
      path: "/responses",
      // The body that is sent is the decoded one.
      headers: { ...turn.headers, "content-encoding": undefined },
      credential: turn.credential,
      body: turn.body.bytes,
    })
    const { headers, status } = answer
    if (status < 200 || status >= 300) {
      return yield* new TurnError({
        reason: "upstream_error",
        delivery: "Rejected",
        message: `the upstream answered ${status}`,
        answer: { status, headers, body: yield* readText(answer) },
      })
    }
    sink.head(headers)
    const stream = (headers["content-type"] ?? "").toLowerCase().startsWith("text/event-stream")
    return yield* stream ? readEvents(answer, sink) : readJson(answer, sink)
  })

  return HttpExecutor.of({ execute })
})

const unreadable = (cause: unknown) =>
  new TurnError({ reason: "upstream_protocol", delivery: "Accepted", message: "the upstream's stream is no SSE", cause })
