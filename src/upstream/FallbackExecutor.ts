/**
 * Tries the socket first, then what the failure allows: even with every WebSocket broken this is a correct HTTP proxy.
 *
 * A turn goes over HTTP at once when it can't go over the socket. Otherwise each attempt's failure is put to
 * `recoveryOf`, the one place that decides between a retry, HTTP and the client (docs/life-of-a-turn.md, Retries).
 */
import { Clock, Context, Effect, Layer, Redacted, Tracer } from "effect"
import { Settings } from "../config/Settings.ts"
import type { Credential } from "../turn/Caller.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnSink } from "../turn/Executor.ts"
import { Executor } from "../turn/Executor.ts"
import { Horizon } from "../turn/attempt/Horizon.ts"
import { Observing } from "../turn/record/Observing.ts"
import type { RetryReason } from "../turn/attempt/Recovery.ts"
import { isSentAgain, recoveryOf } from "../turn/attempt/Recovery.ts"
import { TurnError } from "../turn/TurnError.ts"
import { warmUpHere } from "../turn/attempt/WarmUp.ts"
import { readMember } from "../wire/RequestBody.ts"
import { credentialOf } from "./pool/Affinity.ts"
import { Availability } from "./pool/Availability.ts"
import { HttpExecutor } from "./http/HttpExecutor.ts"
import { isSelfContained } from "./route/CodexRules.ts"
import { ConnectionPool } from "./pool/ConnectionPool.ts"
import type { RoutedTurn } from "./route/Routing.ts"
import { Routing } from "./route/Routing.ts"
import type { Attempt } from "./socket/WebSocketExecutor.ts"
import { WebSocketExecutor } from "./socket/WebSocketExecutor.ts"

export class FallbackExecutor extends Context.Service<FallbackExecutor, TurnExecutor>()(
  "respool/upstream/FallbackExecutor",
) {
  static readonly layerNoDeps = Layer.effect(
    FallbackExecutor,
    Effect.suspend(() => make),
  )

  /** The executor that the handlers call. */
  static readonly layerExecutor = Layer.effect(Executor, FallbackExecutor)
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const socket = yield* WebSocketExecutor
  const http = yield* HttpExecutor
  const availability = yield* Availability
  const routing = yield* Routing
  const pool = yield* ConnectionPool
  const clock = yield* Clock.Clock
  const observing = yield* Observing
  const now = () => clock.currentTimeMillisUnsafe()

  /** Tells of an attempt after the first; of one over HTTP as `http_` and the reason. */
  const retried = ({ id, turnId }: TurnRequest, reason: string) => {
    observing.retried({ turnId, reason })
    return Effect.annotateLogs(Effect.logDebug("a turn is tried again"), { request: id, reason })
  }

  const troubleOf = (turn: RoutedTurn, scope: string) =>
    availability.trouble({ scope, url: turn.upstream.socketFor(turn.query) })

  /** Why this turn can't go over the socket at all; undefined: it can. */
  const unfit = (turn: RoutedTurn): string | undefined => {
    const { transport } = turn.upstream
    const { scope } = turn.caller
    if (transport === "http") return "transport_http"
    if (scope === undefined) return "no_scope"
    // What a message on a client's socket says there means nothing.
    if (turn.clientSocket !== undefined) return closedTo(turn, scope)
    const background = readMember(turn.body, "background")
    // Options alone go there as well: they mean nothing on the socket, and leaving them out would hide a mistake.
    if (background === true || isGiven(turn, "background_options")) return "background"
    // A value that is no boolean is the upstream's to judge, and over the socket neither member is sent.
    const stream = readMember(turn.body, "stream")
    return !isFlag(background) || !isFlag(stream) ? "unusual_member" : closedTo(turn, scope)
  }

  const closedTo = (turn: RoutedTurn, scope: string): string | undefined => {
    const trouble = troubleOf(turn, scope)
    return turn.upstream.transport === "auto" && trouble !== "dial_backoff" ? trouble : undefined
  }

  const warmedUp = (turn: RoutedTurn, horizon: Horizon) => Effect.sync(() => warmUpHere(turn, horizon, now()))

  /**
   * The error as a client's socket is told it: where the connection is lost that held what the client continues, the
   * API's word for that makes clients send everything again. It is not said where the request may have run and must not
   * run twice.
   */
  const onClientSocket = (turn: RoutedTurn, horizon: Horizon, error: TurnError): TurnError => {
    if (turn.clientSocket === undefined || isSelfContained(turn) || horizon.shown) return error
    const isLost =
      error.reason === "anchor_lost" ||
      ((error.reason === "upstream_closed" || error.reason === "foreign_event") && settings.retry === "standard") ||
      error.code === "websocket_connection_limit_reached"
    return isLost ? anchorLost(turn, error) : error
  }

  /**
   * Closes idle connections that were opened with the turn's credential, which is looked up anew before the next turn.
   */
  const forget = (turn: RoutedTurn) => {
    const { upstream } = turn
    const refused = credentialOf(turn)
    pool.evictIdle(
      "credential_refused",
      ({ affinity }) => affinity.credential === refused && affinity.upstream === upstream,
    )
    return routing.refused(turn)
  }

  /** Tries the turn once more if the upstream has another credential by now and nothing of the turn can have run. */
  const again = Effect.fnUntraced(function* (turn: RoutedTurn, horizon: Horizon, error: TurnError) {
    yield* forget(turn)
    const ran = error.delivery === "Ambiguous" || error.delivery === "Accepted"
    if (turn.shown?.owner !== "upstream" || horizon.shown || ran) return yield* error
    const next = yield* Effect.mapError(routing.turn(turn), () => error)
    if (isSame(turn.shown, next.shown)) return yield* error
    yield* retried(turn, credentialRefused)
    horizon.restart(credentialRefused)
    return yield* Effect.tapError(routed(next, horizon), (error) =>
      isRefusedCredential(error) ? forget(next) : Effect.void,
    )
  })

  const routed = (turn: RoutedTurn, horizon: Horizon) => {
    const tried = new Set<RetryReason>()
    let mayHaveRun = false
    const growsConversation = isGiven(turn, "conversation")
    /**
     * The error, which says `Ambiguous` if an earlier attempt may have run: the client must not repeat that
     * unknowingly.
     */
    const ofTurn = (error: TurnError) =>
      mayHaveRun && (error.delivery === "NotSent" || error.delivery === "Rejected")
        ? error.with({ delivery: "Ambiguous" })
        : error

    const recover = (error: TurnError): Effect.Effect<TurnEnd, TurnError> => {
      const { attempt, shown } = horizon
      const failure = {
        error,
        shown,
        ownSuffix: attempt?.reason === "continued" || attempt?.reason === "forked",
        forked: attempt?.reason === "forked",
        // A connection that the client chose by an anchor of its own has carried what it should.
        reused: attempt?.connection === "reused" && !isGiven(turn, "previous_response_id"),
        socketsClosed: turn.caller.scope !== undefined && troubleOf(turn, turn.caller.scope) === "sockets_closed",
        selfContained: isSelfContained(turn),
        growsConversation,
        tried,
      }
      const recovery = recoveryOf(failure, { retry: settings.retry, transport: turn.upstream.transport })
      mayHaveRun ||= error.delivery === "Ambiguous" || error.delivery === "Accepted"
      switch (recovery._tag) {
        case "Surface":
          return Effect.fail(ofTurn(error))
        case "Http":
          return Effect.andThen(retried(turn, `http_${recovery.reason}`), overHttp(recovery.reason))
        case "Retry":
          tried.add(recovery.reason)
          horizon.restart(recovery.reason)
          return Effect.andThen(retried(turn, recovery.reason), overSocket(recovery))
      }
    }
    const overHttp = (reason: string): Effect.Effect<TurnEnd, TurnError> => {
      horizon.restart(reason)
      // Over HTTP there is nothing that could be warmed up.
      if (turn.clientSocket?.warmUp === true) return warmedUp(turn, horizon)
      return Effect.matchEffect(http.attempt(turn, horizon), {
        onFailure: (error) => {
          const again = isSentAgain({ error, shown: horizon.shown, growsConversation, tried }, settings)
          mayHaveRun ||= again
          if (!again) return Effect.fail(ofTurn(error))
          tried.add("upstream_closed")
          return Effect.andThen(retried(turn, "upstream_closed"), overHttp("upstream_closed"))
        },
        onSuccess: (end) => {
          horizon.end()
          return Effect.succeed(end)
        },
      })
    }
    const overSocket = (attempt: Attempt): Effect.Effect<TurnEnd, TurnError> =>
      Effect.catchTag(socket.attempt(turn, horizon, attempt), "TurnError", (error) =>
        error.reason === "session_warm" ? warmedUp(turn, horizon) : recover(error),
      )

    const reason = unfit(turn)
    return reason === undefined ? overSocket({ fresh: false }) : overHttp(reason)
  }

  const execute = (turn: TurnRequest, sink: TurnSink) =>
    traced(
      Effect.flatMap(routing.turn(turn), (turn) => {
        const horizon = new Horizon(sink)
        return Effect.catchTag(routed(turn, horizon), "TurnError", (error) =>
          isRefusedCredential(error) ? again(turn, horizon, error) : Effect.fail(onClientSocket(turn, horizon, error)),
        )
      }),
    )

  return FallbackExecutor.of({ execute })
})

/** A turn in a span of its own, where there is a tracer that keeps it: else it would cost as much as the turn's lease. */
const traced = <A, E>(turn: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.flatMap(Tracer.Tracer, (tracer) =>
    tracer === Tracer.nativeTracer ? turn : Effect.withSpan(turn, "FallbackExecutor.execute"),
  )

const credentialRefused = "credential_refused"

/** The error in the API's words (docs/protocol.md 1.7). */
const anchorLost = ({ body }: TurnRequest, error: TurnError): TurnError => {
  const param = "previous_response_id"
  const said = {
    type: "invalid_request_error",
    code: "previous_response_not_found",
    message: `Previous response with id '${String(readMember(body, param))}' not found.`,
    param,
  }
  const answer = { status: 400, headers: {}, body: JSON.stringify({ error: said }) }
  return new TurnError({ reason: "anchor_lost", delivery: error.delivery, message: error.message, answer })
}

const isSame = (one: Credential, other: Credential | undefined): boolean =>
  other !== undefined && Redacted.value(one.headers)["authorization"] === Redacted.value(other.headers)["authorization"]

const isRefusedCredential = ({ answer }: TurnError): boolean => answer?.status === 401

const isFlag = (value: unknown) => value === undefined || value === null || typeof value === "boolean"

const isGiven = ({ body }: TurnRequest, member: string) => (readMember(body, member) ?? null) !== null
