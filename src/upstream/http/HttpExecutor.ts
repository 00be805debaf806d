/**
 * Carries a turn over plain HTTP, with the client's own bytes: the way that always works.
 *
 * The same contract as the socket's: events to the sink, a `TurnError` with what was delivered. A JSON answer arrives as
 * one terminal event that holds it, so that whoever reads the events need not know the difference.
 * - What is kept of an answer is bounded, and it is not read on while the client is behind.
 * - However a turn ends, its request is over by then: an answer that is not read to its end is aborted.
 */
import { Clock, Context, Deferred, Duration, Effect, Exit, Layer, Stream } from "effect"
import { Sse } from "effect/encoding"
import { Settings } from "../../config/Settings.ts"
import { maxAnswer, readAnswer, readRefusal, tooLarge } from "../../turn/AnswerBody.ts"
import { Executor } from "../../turn/Executor.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnSink } from "../../turn/Executor.ts"
import type { ForwardAnswer } from "../../turn/Forwarder.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import { withHorizon } from "../../turn/attempt/Horizon.ts"
import { OutputCollector } from "../../turn/attempt/OutputCollector.ts"
import { Progress } from "../../turn/attempt/Progress.ts"
import { Silence } from "../../turn/attempt/TurnClock.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { eventType, isTerminal } from "../../wire/Event.ts"
import { itemCount, withMembers } from "../../wire/RequestBody.ts"
import { errorOf } from "../../wire/UpstreamError.ts"
import { codexSink, membersOverHttp } from "../route/CodexRules.ts"
import { HttpUpstream } from "./HttpUpstream.ts"
import type { RoutedTurn } from "../route/Routing.ts"
import { Routing } from "../route/Routing.ts"
import { strikeOwn } from "../route/StrikeOwn.ts"

export class HttpExecutor extends Context.Service<
  HttpExecutor,
  TurnExecutor & { readonly attempt: (turn: RoutedTurn, sink: TurnSink) => Effect.Effect<TurnEnd, TurnError> }
>()("respool/upstream/HttpExecutor") {
  static readonly layerNoDeps = Layer.effect(
    HttpExecutor,
    Effect.suspend(() => make),
  )

  /** HTTP alone, without sockets. */
  static readonly layerExecutor = Layer.effect(Executor, Effect.map(HttpExecutor, withHorizon))
}

/** How long the body may go on after the terminal event. */
const lingerAtMost = Duration.seconds(1)

/** What an answer's reader tells of it. */
interface Watched {
  readonly silence: Silence
  /** The terminal event has been handed on; nothing ends the turn otherwise any more. */
  over: boolean
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const clock = yield* Clock.Clock
  const deadlines = yield* Deadlines.make
  const { send } = yield* HttpUpstream
  const routing = yield* Routing

  const readJson = Effect.fnUntraced(function* (answer: ForwardAnswer, sink: TurnSink) {
    const text = yield* readAnswer(answer)
    const status = statusIn(text)
    if (status === undefined) return yield* noResponse
    const ended = `response.${status}`
    // A response in the background is still queued, yet the answer to this request is whole.
    const type = isTerminal(ended) ? ended : "response.completed"
    const frame = `{"type":"${type}","response":${text}}`
    const finish = new OutputCollector().finish(type, frame)
    if (finish === undefined) return yield* noResponse
    sink.event(type, frame)
    return { ...finish.end, type: ended }
  })

  const readEvents = Effect.fnUntraced(function* ({ body }: ForwardAnswer, sink: TurnSink, watched: Watched) {
    const { silence } = watched
    const collector = new OutputCollector()
    const ended = yield* Deferred.make<TurnEnd, TurnError>()
    const progress = new Progress()
    let behind = false
    let caughtUp: (() => void) | undefined

    const end = (exit: Exit.Exit<TurnEnd, TurnError>) => {
      watched.over = true
      Deferred.doneUnsafe(ended, exit)
    }

    const onEvent = (data: string) => {
      const type = eventType(data)
      if (type === undefined) {
        // What is no event of the API's passes nobody by, but half an event is a gap in the answer.
        if (data !== "[DONE]" && !isJson(data)) end(Exit.fail(notJson))
        return
      }
      silence.heard()
      if (type === "error") {
        const error = errorOf(data)
        return end(Exit.fail(error === undefined ? notJson : progress.refused(data, error)))
      }
      if (isTerminal(type)) {
        const last = collector.finish(type, data)
        if (last === undefined) return end(Exit.fail(noResponse))
        sink.event(type, last.frame)
        return end(Exit.succeed(last.end))
      }
      progress.saw(type)
      collector.add(type, data)
      if (sink.event(type, data) || behind) return
      behind = true
      silence.paused()
      // Asked for at once, since the client may have caught up before the next step of a fiber.
      sink.onDrain(
        () => {
          behind = false
          silence.resumed()
          caughtUp?.()
        },
        () => silence.taken(),
      )
    }

    const parser = Sse.makeParser(
      (message) => {
        if (message._tag === "Event" && !watched.over) onEvent(message.data)
      },
      { maxEventSize: maxAnswer },
    )

    const catchUp = Effect.callback<void>((resume) => {
      caughtUp = () => resume(Effect.void)
      if (!behind) caughtUp()
    })

    const read = body.pipe(
      Stream.decodeText(),
      Stream.runForEach((text) => {
        if (parser.feed(text) !== undefined && !watched.over) end(Exit.fail(tooLarge))
        return behind && !watched.over ? catchUp : Effect.void
      }),
      // What breaks behind the end is not the turn's.
      Effect.catchTag("TurnError", (error) => (watched.over ? Effect.void : Effect.fail(error))),
      Effect.andThen(Effect.suspend(() => (watched.over ? Effect.void : Effect.fail(cutShort)))),
    )
    // The end of the body frees the connection for the next request; an upstream that never ends it is left, and one
    // that broke the protocol at once.
    const leave = Deferred.await(ended).pipe(Effect.andThen(Effect.sleep(lingerAtMost)), Effect.ignore)
    yield* Effect.raceFirst(read, leave)
    return yield* Deferred.await(ended)
  })

  const request = Effect.fnUntraced(function* (turn: RoutedTurn, sink: TurnSink, watched: Watched) {
    const set = membersOverHttp(turn)
    const answer = yield* send(turn, {
      method: "POST",
      path: `/responses${turn.query}`,
      // The body that is sent is the decoded one.
      headers: { ...turn.headers, "content-encoding": undefined },
      credential: turn.credential,
      body: set === undefined ? turn.body.bytes : withMembers(turn.body, set),
      scope: yield* Effect.scope,
    })
    const { headers, status } = answer
    if (status >= 300) {
      // Its time is its own: nothing of the turn is waited for any more.
      watched.over = true
      return yield* new TurnError({
        reason: "upstream_error",
        delivery: "Rejected",
        message: `the upstream answered ${status}`,
        answer: { status, headers, body: yield* readRefusal(answer) },
      })
    }
    watched.silence.accepted()
    sink.head(headers)
    const stream = (headers["content-type"] ?? "").toLowerCase().startsWith("text/event-stream")
    return yield* stream ? readEvents(answer, sink, watched) : readJson(answer, sink)
  })

  const execute = (turn: TurnRequest, sink: TurnSink) =>
    Effect.flatMap(routing.turn(turn), (turn) => attempt(turn, sink))

  const attempt = (turn: RoutedTurn, sink: TurnSink) =>
    strikeOwn(turn, codexSink(turn, sink), (sink) => carried(turn, sink))

  const carried = Effect.fn("HttpExecutor.execute")(function* (turn: RoutedTurn, sink: TurnSink) {
    const items = itemCount(turn.body)
    sink.route({
      upstream: turn.upstream.name,
      transport: "http",
      connection: "new",
      input: "full",
      reason: "transport_http",
      connectionId: 0,
      itemsSent: items,
      items,
      bytesUp: turn.body.bytes.length,
    })
    const silence = new Silence({
      clock,
      settings,
      startedAt: turn.startedAt,
      atOnce: !turn.stream && !turn.upstream.known.codex,
    })
    const watched: Watched = { silence, over: false }
    const watch = Effect.callback<never, TurnError>((resume) => {
      const stop = silence.watch(deadlines, (error) => {
        if (!watched.over) resume(Effect.fail(error))
      })
      return Effect.sync(stop)
    })
    return yield* Effect.scoped(Effect.raceFirst(request(turn, sink, watched), watch))
  })

  return HttpExecutor.of({ attempt, execute })
})

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
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

const violation = (message: string) => new TurnError({ reason: "upstream_protocol", delivery: "Accepted", message })

const noResponse = violation("the upstream's answer is no response")
const notJson = violation("the upstream sent an event that is not JSON")

const cutShort = new TurnError({
  reason: "upstream_closed",
  delivery: "Accepted",
  message: "the upstream ended its stream without a terminal event",
})
