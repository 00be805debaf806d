/**
 * Carries a turn over plain HTTP, with the bytes that the client sent: the way that always works.
 *
 * The contract is that of the socket: events to the sink, a `TurnError` with what was delivered. A JSON answer arrives
 * as one terminal event that holds it, so that the sink need not know the difference.
 * - What is kept of an answer is bounded, and it is not read on while the client is behind.
 * - However a turn ends, its request has ended by then: an answer that is not read to its end is aborted.
 */
import type { Exit } from "effect"
import { Clock, Context, Deferred, Duration, Effect, Layer, Stream } from "effect"
import { Sse } from "effect/encoding"
import { Settings } from "../../config/Settings.ts"
import { maxAnswer, readAnswer, readRefusal, tooLarge } from "../../turn/AnswerBody.ts"
import { Executor } from "../../turn/Executor.ts"
import type { TurnEnd, TurnExecutor, TurnSink } from "../../turn/Executor.ts"
import type { ForwardAnswer } from "../../turn/Forwarder.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import { OutputCollector } from "../../turn/attempt/OutputCollector.ts"
import { EventReader } from "../../turn/attempt/EventReader.ts"
import { TurnClock } from "../../turn/attempt/TurnClock.ts"
import { withHorizon } from "../../turn/Sinks.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { isTerminal } from "../../wire/Event.ts"
import { itemCount, withMembers } from "../../wire/RequestBody.ts"
import { codexSink, membersOverHttp } from "../route/CodexRules.ts"
import { HttpUpstream } from "./HttpUpstream.ts"
import type { RoutedTurn } from "../route/Routing.ts"
import { Routing } from "../route/Routing.ts"

export class HttpExecutor extends Context.Service<
  HttpExecutor,
  TurnExecutor & { readonly attempt: (turn: RoutedTurn, sink: TurnSink) => Effect.Effect<TurnEnd, TurnError> }
>()("respool/upstream/HttpExecutor") {
  static readonly layerNoDeps = Layer.effect(
    HttpExecutor,
    Effect.suspend(() => make),
  )

  /** Carries turns over HTTP alone, without sockets. */
  static readonly layerExecutor = Layer.effect(Executor, Effect.map(HttpExecutor, withHorizon))
}

/** How long the body may go on after the terminal event. */
const lingerAtMost = Duration.seconds(1)

/** The events of an answer that streams: a body is read on only while the client keeps up. */
class HttpEvents extends EventReader {
  readonly end = Deferred.makeUnsafe<TurnEnd, TurnError>()
  #caughtUp: (() => void) | undefined

  get done(): boolean {
    return this.over
  }

  /** The answer is over the limit. */
  overflowed() {
    this.fail("protocol", tooLarge)
  }

  /** Waits until the client has caught up; undefined: it has. */
  get catchUp(): Effect.Effect<void> | undefined {
    if (!this.behind || this.over) return undefined
    return Effect.callback((resume) => {
      this.#caughtUp = () => resume(Effect.void)
      if (!this.behind) this.#caughtUp()
    })
  }

  // Nothing to do: the upstream waits because `catchUp` keeps the body from being read on.
  protected pause() {}

  protected resume() {
    this.#caughtUp?.()
  }

  /** Unknown JSON is skipped; text that is not JSON means that part of the answer was lost. */
  protected stray(text: string) {
    return text === "[DONE]" || isJson(text) ? undefined : "the upstream sent an event that is not JSON"
  }

  protected finished() {}

  protected ended(exit: Exit.Exit<TurnEnd, TurnError>) {
    Deferred.doneUnsafe(this.end, exit)
  }
}

/** What the watch over a request must know of it. */
interface Watched {
  readonly turnClock: TurnClock
  /** Once this is set no time-out ends the turn any more. */
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
    // A response in the background is still queued, but the answer to this request is whole.
    const type = isTerminal(ended) ? ended : "response.completed"
    const frame = `{"type":"${type}","response":${text}}`
    const finish = new OutputCollector().finish(type, frame)
    if (finish === undefined) return yield* noResponse
    sink.event(type, frame)
    return { ...finish.end, type: ended }
  })

  const readEvents = Effect.fnUntraced(function* ({ body }: ForwardAnswer, sink: TurnSink, watched: Watched) {
    const reader = new HttpEvents({ sink, clock: watched.turnClock })
    const parser = Sse.makeParser(
      (message) => {
        if (message._tag === "Event" && !reader.done) reader.onText(message.data)
      },
      { maxEventSize: maxAnswer },
    )
    const read = body.pipe(
      Stream.decodeText(),
      Stream.runForEach((text) => {
        if (parser.feed(text) !== undefined) reader.overflowed()
        watched.over = reader.done
        return reader.catchUp ?? Effect.void
      }),
      // What breaks after the terminal event does not concern the turn.
      Effect.catchTag("TurnError", (error) => (reader.done ? Effect.void : Effect.fail(error))),
      Effect.andThen(Effect.suspend(() => (reader.done ? Effect.void : Effect.fail(cutShort)))),
    )
    // The end of the body frees the connection for the next request, so it is waited for: not for ever, and not at all
    // where the upstream broke the protocol.
    const leave = Deferred.await(reader.end).pipe(Effect.andThen(Effect.sleep(lingerAtMost)), Effect.ignore)
    yield* Effect.raceFirst(read, leave)
    return yield* Deferred.await(reader.end)
  })

  const request = Effect.fnUntraced(function* (turn: RoutedTurn, sink: TurnSink, watched: Watched) {
    const set = membersOverHttp(turn)
    const answer = yield* send(turn, {
      method: "POST",
      path: `/responses${turn.query}`,
      // The body has been decoded before it is sent.
      headers: { ...turn.headers, "content-encoding": undefined },
      caller: turn.caller,
      body: set === undefined ? turn.body.bytes : withMembers(turn.body, set),
      scope: yield* Effect.scope,
    })
    const { headers, status } = answer
    if (status >= 300) {
      // From here on only the refusal's body is read, which has a time-out of its own.
      watched.over = true
      return yield* new TurnError({
        reason: "upstream_error",
        delivery: "Rejected",
        message: `the upstream answered ${status}`,
        answer: { status, headers, body: yield* readRefusal(answer) },
      })
    }
    watched.turnClock.accepted()
    sink.head(headers)
    const stream = (headers["content-type"] ?? "").toLowerCase().startsWith("text/event-stream")
    return yield* stream ? readEvents(answer, sink, watched) : readJson(answer, sink)
  })

  const attempt = Effect.fn("HttpExecutor.execute")(function* (turn: RoutedTurn, sink: TurnSink) {
    const items = itemCount(turn.body)
    const shown = codexSink(turn, sink)
    shown.route({
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
    const turnClock = new TurnClock({
      clock,
      times: settings,
      startedAt: turn.startedAt,
      atOnce: !turn.stream && !turn.upstream.known.codex,
    })
    const watched: Watched = { turnClock, over: false }
    const watch = Effect.callback<never, TurnError>((resume) => {
      const stop = turnClock.watch(deadlines, (error) => {
        if (!watched.over) resume(Effect.fail(error))
      })
      return Effect.sync(stop)
    })
    return yield* Effect.scoped(Effect.raceFirst(request(turn, shown, watched), watch))
  })

  return HttpExecutor.of({
    attempt,
    execute: (turn, sink) => Effect.flatMap(routing.turn(turn), (turn) => attempt(turn, sink)),
  })
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

const cutShort = new TurnError({
  reason: "upstream_closed",
  delivery: "Accepted",
  message: "the upstream ended its stream without a terminal event",
})
