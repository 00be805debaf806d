/**
 * Carries a turn over plain HTTP, with the bytes that the client sent: the way that always works.
 *
 * The contract is that of the socket: events to the sink, a `TurnError` with what was delivered. A JSON answer arrives
 * as one terminal event that holds it, so that the sink need not know the difference.
 * - What is kept of an answer is bounded, and it is not read on while the client is behind.
 * - However a turn ends, its request has ended by then: an answer that is not read to its end is aborted.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { Settings } from "../../config/Settings.ts"
import { readRefusal } from "../../turn/AnswerBody.ts"
import { Executor } from "../../turn/Executor.ts"
import type { TurnEnd, TurnExecutor, TurnSink } from "../../turn/Executor.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import { TurnClock } from "../../turn/attempt/TurnClock.ts"
import { withHorizon } from "../../turn/Sinks.ts"
import { inSlices } from "../../turn/Slices.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { inputSize, withMembersInSteps } from "../../wire/Frame.ts"
import { itemCount } from "../../wire/RequestBody.ts"
import { codexSink, membersOverHttp } from "../route/CodexRules.ts"
import { readTurn } from "./AnswerReader.ts"
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

  const request = Effect.fnUntraced(function* (turn: RoutedTurn, sink: TurnSink, watched: Watched) {
    const { clientSocket } = turn
    const ofProfile = membersOverHttp(turn)
    // A turn of a client's socket streams, whatever its message says.
    const set = clientSocket === undefined ? ofProfile : new Map([...(ofProfile ?? []), streamed])
    const { body } = turn
    const bytes = set === undefined ? body.bytes : yield* inSlices(withMembersInSteps(body, set, clientSocket?.omit))
    const answer = yield* send(turn, {
      method: "POST",
      path: `/responses${turn.query}`,
      // The body has been decoded before it is sent.
      headers: {
        ...turn.headers,
        "content-type": turn.headers["content-type"] ?? "application/json",
        "content-encoding": undefined,
      },
      caller: turn.caller,
      body: withoutMark(bytes),
      scope: yield* Effect.scope,
    })
    const { headers, status } = answer
    if (status >= 300) {
      // From here on only the refusal's body is read, which has a time-out of its own.
      watched.over = true
      const refusal = { status, headers, body: yield* readRefusal(answer) }
      return yield* new TurnError({
        ...(endsConnection(refusal) ? waitedTooLong : refused(status)),
        answer: refusal,
      })
    }
    watched.turnClock.accepted()
    sink.head(headers)
    const over = () => {
      watched.over = true
    }
    return yield* readTurn(answer, { sink, clock: watched.turnClock, over })
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
      inputBytes: inputSize(turn.body, 0),
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

const streamed = ["stream", "true"] as const

const refused = (status: number) =>
  ({ reason: "upstream_error", delivery: "Rejected", message: `the upstream answered ${status}` }) as const

/**
 * What stands in front of an API may say 408 as it ends a connection that was idle, and the next request meets that. It is
 * asked again like a connection that closed (RFC 9110, section 15.5.9). The API's own 408 is about the turn.
 */
const endsConnection = ({ body, status }: NonNullable<TurnError["answer"]>): boolean =>
  status === 408 && !body.trimStart().startsWith("{")

const waitedTooLong = {
  reason: "upstream_closed",
  delivery: "Ambiguous",
  message: "the upstream closed the connection, on which it had waited too long",
} as const

/** The body without a byte order mark, which JSON must not begin with (RFC 8259, 8.1); on sockets none goes up either. */
const withoutMark = (bytes: Uint8Array): Uint8Array =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
