/**
 * Carries a turn over plain HTTP, with the client's own bytes: the way that always works.
 *
 * The same contract as the socket's: events to the sink, a `TurnError` with what was delivered. A JSON answer arrives as
 * one terminal event that holds it, so that whoever reads the events need not know the difference.
 */
import { Clock, Context, Deferred, Duration, Effect, Exit, Layer, Stream } from "effect"
import { Sse } from "effect/encoding"
import { Settings } from "../Settings.ts"
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

/** How long the body may go on after the terminal event. */
const lingerAtMost = Duration.seconds(1)

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const { forward } = yield* Forwarder

  const readText = ({ body }: ForwardAnswer) => body.pipe(Stream.decodeText(), Stream.mkString)

  const readJson = (answer: ForwardAnswer, sink: TurnSink) =>
    Effect.flatMap(readText(answer), (text) => {
      const status = statusIn(text)
      if (status === undefined) return Effect.fail(noResponse)
      const ended = `response.${status}`
      // A response in the background is still queued, yet the answer to this request is whole.
      const type = isTerminal(ended) ? ended : "response.completed"
      const frame = `{"type":"${type}","response":${text}}`
      const { end } = new OutputCollector().finish(type, frame)
      sink.event(type, frame)
      return Effect.succeed({ ...end, type: ended })
    })

  /** `heard` is told of every sign of life. */
  const readEvents = ({ body }: ForwardAnswer, sink: TurnSink, heard: () => void) =>
    Effect.gen(function* () {
      const collector = new OutputCollector()
      const ended = yield* Deferred.make<TurnEnd, TurnError>()
      let over = false
      let behind = false

      const end = (exit: Exit.Exit<TurnEnd, TurnError>) => {
        over = true
        Deferred.doneUnsafe(ended, exit)
      }

      // `retry` and `[DONE]` are no events of the API's.
      const parser = Sse.makeParser(
        (message) => {
          const type = message._tag === "Event" && !over ? eventType(message.data) : undefined
          if (message._tag === "Retry" || type === undefined) return
          const { data } = message
          if (!isTerminal(type)) {
            collector.add(type, data)
            if (!sink.event(type, data)) behind = true
            return
          }
          if (type === "error") return end(Exit.fail(refusal(data)))
          const last = collector.finish(type, data)
          sink.event(type, last.frame)
          end(Exit.succeed(last.end))
        },
        { maxEventSize: Number.MAX_SAFE_INTEGER },
      )

      const read = body.pipe(
        Stream.decodeText(),
        Stream.runForEach((text) => {
          heard()
          parser.feed(text)
          if (!behind) return Effect.void
          behind = false
          return Effect.callback<void>((resume) => sink.onDrain(() => resume(Effect.void)))
        }),
        // What breaks behind the end is not the turn's.
        Effect.catchTag("TurnError", (error) => (over ? Effect.void : Effect.fail(error))),
        Effect.andThen(Effect.suspend(() => (over ? Effect.void : Effect.fail(cutShort)))),
      )
      // The end of the body frees the connection for the next request; an upstream that never ends it is left.
      const leave = Deferred.await(ended).pipe(Effect.exit, Effect.andThen(Effect.sleep(lingerAtMost)))
      yield* Effect.raceFirst(read, leave)
      return yield* Deferred.await(ended)
    })

  /** Ends the turn when the upstream is silent. A JSON answer is silent until it is whole. */
  const watch = (turn: TurnRequest, lastHeard: () => number | undefined) =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const startedAt = clock.currentTimeMillisUnsafe()
      for (;;) {
        const last = lastHeard()
        const silence = last === undefined ? settings.firstEventTimeout : settings.eventTimeout
        const whole = startedAt + settings.turnTimeout
        const deadline = turn.stream ? Math.min((last ?? startedAt) + silence, whole) : whole
        const left = deadline - clock.currentTimeMillisUnsafe()
        if (left > 0) {
          yield* Effect.sleep(Duration.millis(left))
          continue
        }
        return yield* new TurnError({
          reason: deadline === whole ? "turn_timeout" : last === undefined ? "first_event_timeout" : "event_timeout",
          delivery: last === undefined ? "Ambiguous" : "Accepted",
          message: deadline === whole ? "the turn took longer than it may" : "the upstream sent no event in time",
        })
      }
    })

  const request = Effect.fnUntraced(function* (turn: TurnRequest, sink: TurnSink, heard: () => void) {
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
      path: `/responses${turn.query}`,
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
    return yield* stream ? readEvents(answer, sink, heard) : readJson(answer, sink)
  })

  const execute = Effect.fn("HttpExecutor.execute")(function* (turn: TurnRequest, sink: TurnSink) {
    const clock = yield* Clock.Clock
    let lastHeard: number | undefined
    const heard = () => {
      lastHeard = clock.currentTimeMillisUnsafe()
    }
    return yield* Effect.raceFirst(
      request(turn, sink, heard),
      watch(turn, () => lastHeard),
    )
  })

  return HttpExecutor.of({ execute })
})

/** An `error` event in the stream, in the words of the status it would have been. */
const refusal = (event: string) => {
  const error = errorOf(event)
  return new TurnError({
    reason: "upstream_error",
    delivery: "Rejected",
    message: error?.message ?? "the upstream answered with an error",
    event,
    ...(error === undefined ? {} : { answer: { status: error.status, headers: error.headers, body: error.body } }),
  })
}

/** The status of a response; `completed` where it has none, undefined where the text is no JSON object. */
const statusIn = (text: string): string | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined
    return "status" in value && typeof value.status === "string" ? value.status : "completed"
  } catch {
    return undefined
  }
}

const noResponse = new TurnError({
  reason: "upstream_protocol",
  delivery: "Accepted",
  message: "the upstream's answer is no response",
})

const cutShort = new TurnError({
  reason: "upstream_closed",
  delivery: "Accepted",
  message: "the upstream ended its stream without a terminal event",
})
