/**
 * Carries a turn over a pooled WebSocket: look up and lease, plan, send, listen until the terminal event.
 *
 * At the terminal event, in one synchronous step before its bytes are handed on, the checkpoint is recorded and the
 * connection idle; so the client's next turn, however fast, finds both. Any other end, interruption first, leaves the
 * lease to its finalizer, which evicts and thereby terminates the socket: that is the only cancel the protocol has.
 */
import { randomBytes } from "node:crypto"
import { Clock, Context, Effect, Layer, Result, Scope } from "effect"
import { Settings } from "../settings/Settings.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnSink } from "../turn/Executor.ts"
import { checkpointOf } from "../turn/Checkpoint.ts"
import { Executor } from "../turn/Executor.ts"
import { HeadMemory } from "../turn/HeadMemory.ts"
import * as Deadlines from "../turn/Deadlines.ts"
import { withHorizon } from "../turn/Horizon.ts"
import { itemsIn, lineageOf } from "../turn/Lineage.ts"
import { OutputCollector } from "../turn/OutputCollector.ts"
import { plan } from "../turn/Plan.ts"
import type { Refusal } from "../turn/Progress.ts"
import { lostAnchorOf, Progress } from "../turn/Progress.ts"
import { Silence } from "../turn/Silence.ts"
import type { Place } from "../turn/TurnMemory.ts"
import { TurnMemory } from "../turn/TurnMemory.ts"
import { TurnError } from "../turn/TurnError.ts"
import { makeDigester } from "../wire/Digest.ts"
import { eventType, isTerminal } from "../wire/Event.ts"
import { errorOf } from "../wire/UpstreamError.ts"
import { parseRequestBody, toFrame } from "../wire/RequestBody.ts"
import { affinityOf } from "./Affinity.ts"
import { ConnectionPool } from "./ConnectionPool.ts"
import type { EvictReason } from "./ConnectionState.ts"
import type { Lease } from "./Lease.ts"
import { codexSink, membersOnSocket } from "./CodexRules.ts"
import type { RoutedTurn } from "./Routing.ts"
import { Routing } from "./Routing.ts"
import { strikeOwn } from "./StrikeOwn.ts"

/** One try to carry a turn; `fresh`: on a new connection, which remembers nothing, so that everything is sent. */
export interface Attempt {
  readonly fresh: boolean
}

export class WebSocketExecutor extends Context.Service<
  WebSocketExecutor,
  TurnExecutor & {
    /** One attempt; what its failure leads to is decided by the caller. */
    readonly attempt: (turn: RoutedTurn, sink: TurnSink, attempt: Attempt) => Effect.Effect<TurnEnd, TurnError>
  }
>()("respool/upstream/WebSocketExecutor") {
  static readonly layerNoDeps = Layer.effect(
    WebSocketExecutor,
    Effect.suspend(() => make),
  )

  /** The socket alone, without a retry or a fallback. */
  static readonly layerExecutor = Layer.effect(Executor, Effect.map(WebSocketExecutor, withHorizon))
}

/** What a leased connection is asked, and what it remembers from before. */
interface Request {
  readonly frame: Uint8Array
  /** The input was cut by us to what is new. */
  readonly ownSuffix: boolean
  readonly lastResponseId: string | undefined
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const routing = yield* Routing
  const pool = yield* ConnectionPool
  const memory = yield* TurnMemory
  const heads = yield* HeadMemory
  const clock = yield* Clock.Clock
  const deadlines = yield* Deadlines.make
  const digester = makeDigester(randomBytes(32))

  /** Runs the leased turn; the events go from the socket's callback to the sink, no fiber between. */
  const listen = (
    lease: Lease,
    startedAt: number,
    { frame, lastResponseId, ownSuffix }: Request,
    sink: TurnSink,
    finished: (end: TurnEnd) => void,
  ) => {
    const silence = new Silence({ clock, settings, startedAt })
    const collector = new OutputCollector()
    const progress = new Progress()
    let begun = false
    let over = false
    let end: (outcome: Effect.Effect<TurnEnd, TurnError>) => void = () => {}

    // The connection first, since the turn's end would evict it for another reason. What the turn hears of that in
    // between is behind `over`.
    const fail = (evict: EvictReason, error: TurnError) => {
      over = true
      lease.evict(evict)
      end(Effect.fail(error))
    }

    const violated = (message: string) =>
      fail("protocol", new TurnError({ reason: "upstream_protocol", delivery: "Accepted", message }))

    const refused = (text: string, refusal: Refusal) => fail("failed", progress.refused(text, refusal))

    const onText = (text: string) => {
      silence.heard()
      begun = true
      const type = eventType(text)
      if (type === undefined) return violated("the upstream sent a frame that is not an event")
      if (type === "error") {
        const error = errorOf(text)
        return error === undefined ? violated("the upstream sent a frame that is not an event") : refused(text, error)
      }
      if (!isTerminal(type)) {
        progress.saw(type)
        collector.add(type, text)
        if (sink.event(type, text)) return
        lease.pause()
        silence.paused()
        return sink.onDrain(
          () => {
            lease.resume()
            silence.resumed()
          },
          () => silence.taken(),
        )
      }
      const finish = collector.finish(type, text)
      if (finish === undefined) return violated("the upstream's last event holds no response")
      const { end: ended, event, frame: last } = finish
      if (ended.responseId !== undefined && ended.responseId === lastResponseId) {
        return violated("the upstream ended the turn before this one twice")
      }
      const lostAnchor = ownSuffix && !progress.content && type === "response.failed" ? lostAnchorOf(event) : undefined
      if (lostAnchor !== undefined) return refused(text, lostAnchor)
      over = true
      finished(ended)
      sink.event(type, last)
      end(Effect.succeed(ended))
    }

    return Effect.callback<TurnEnd, TurnError>((resume) => {
      const stop = silence.watch(deadlines, (error) => {
        fail(error.reason === "slow_client" ? "slow_client" : "timeout", error)
      })
      end = (outcome) => {
        stop()
        resume(outcome)
      }
      lease.listen({
        onText: (text) => {
          try {
            onText(text)
          } catch (cause) {
            // A defect of ours must end this turn alone: thrown on, it would end up in the socket's own callback.
            const message = "the proxy failed"
            fail("failed", new TurnError({ reason: "internal", delivery: "Accepted", message, cause }))
          }
        },
        onLost: (reason, detail) => {
          // A terminal event that evicts the connection has ended the turn itself.
          if (over) return
          const message = detail === "" ? "the connection to the upstream is gone" : detail
          const tooBig = reason === "message_too_big" && !begun
          end(
            Effect.fail(
              new TurnError({
                reason: tooBig ? "message_too_big" : (lostReasons[reason] ?? "upstream_closed"),
                delivery: tooBig ? "Rejected" : silence.delivery,
                message,
              }),
            ),
          )
        },
      })
      if (!lease.send(frame)) {
        const message = "the upstream had closed the connection"
        fail("closed", new TurnError({ reason: "socket_lost_before_send", delivery: "NotSent", message }))
      }
      return Effect.sync(stop)
    })
  }

  /** What the turn's items are. A known head will do only if it leads to a connection. */
  const read = (turn: TurnRequest, place: Place) => {
    const known = turn.head?.known
    if (known === undefined) return { body: turn.body, lineage: lineageOf(turn.body, digester) }
    const lineage = lineageOf(turn.body, digester, known.prefix)
    if (memory.recall(place, lineage, settings.reasoning).length > 0) return { body: turn.body, lineage }
    const body = Result.getOrThrow(parseRequestBody(turn.body.bytes))
    return { body, lineage: lineageOf(body, digester) }
  }

  const leased = Effect.fnUntraced(function* (
    turn: RoutedTurn & { readonly scope: string },
    sink: TurnSink,
    { fresh }: Attempt,
  ) {
    const { maxMessage } = turn.upstream
    const affinity = affinityOf(turn)
    const set = membersOnSocket(turn)
    const place = { affinity: affinity.key, session: turn.session }
    const { body, lineage } = read(turn, place)
    const { anchor } = lineage
    const recall = () => memory.recall(place, lineage, settings.reasoning)
    if (body.bytes.length > maxMessage && anchor === undefined && recall().length === 0) {
      const { length } = toFrame(body, { fromItem: 0, set })
      if (length > maxMessage) return yield* tooBig(length, maxMessage)
    }
    const lease = yield* pool.lease({
      affinity,
      session: turn.session,
      anchor: anchor === undefined ? undefined : () => memory.ownerOf(affinity.key, anchor),
      recall,
      fresh,
    })
    const told = codexSink(turn, sink, lease.handshake)
    if (!lease.reused) {
      const attached = Effect.andThen(memory.attach(lease.connectionId), heads.attach(lease.connectionId))
      yield* Scope.provide(attached, lease.connectionScope)
    }
    const checkpoint = memory.checkpointOf(lease.connectionId)
    const decision = plan(lineage, checkpoint, settings.reasoning)
    const frame = toFrame(body, set === undefined ? decision : { ...decision, set })
    if (frame.length > maxMessage) {
      lease.release()
      return yield* tooBig(frame.length, maxMessage)
    }
    told.route({
      upstream: turn.upstream.name,
      transport: "websocket",
      connection: lease.reused ? "reused" : "new",
      input: decision._tag === "Suffix" ? "suffix" : "full",
      reason: decision.reason,
      connectionId: lease.connectionId,
      itemsSent: itemsIn(lineage) - decision.fromItem,
      items: itemsIn(lineage),
      bytesUp: frame.length,
    })
    const request = {
      frame,
      ownSuffix: decision.reason === "continued",
      lastResponseId: checkpoint?.responseId,
    }
    return yield* listen(lease, turn.startedAt, request, told, (end) => {
      const { responseId } = end
      if (end.type === "response.completed" && responseId !== undefined) {
        const checkpoint = checkpointOf(lineage, responseId, end.output, digester)
        memory.record(lease.connectionId, place, checkpoint)
        if (turn.head !== undefined && checkpoint.input !== undefined) {
          heads.record(lease.connectionId, turn.head.line, body, checkpoint.input, turn.head.known)
        }
        lease.complete(decision._tag === "Suffix" ? "continued" : "once")
      } else if (end.type === "response.incomplete") {
        memory.forget(lease.connectionId)
        lease.complete("none")
      } else {
        lease.evict("failed")
      }
    })
  })

  const tooBig = (length: number, limit: number) =>
    new TurnError({
      reason: "message_too_big",
      delivery: "NotSent",
      message: `the message of ${length} bytes is over the socket's limit of ${limit}`,
    })

  const attempt = (turn: RoutedTurn, sink: TurnSink, attempt: Attempt): Effect.Effect<TurnEnd, TurnError> => {
    const { scope } = turn
    return scope === undefined
      ? Effect.fail(new TurnError({ reason: "no_scope", delivery: "NotSent", message: "nobody to pool for" }))
      : strikeOwn(turn, sink, (sink) => Effect.scoped(leased({ ...turn, scope }, sink, attempt)))
  }

  return WebSocketExecutor.of({
    attempt,
    execute: (turn, sink) => Effect.flatMap(routing.turn(turn), (routed) => attempt(routed, sink, { fresh: false })),
  })
})

/** What a connection's end means for the turn that held it. */
const lostReasons: Partial<Record<EvictReason, TurnError["reason"]>> = {
  closed: "upstream_closed",
  protocol: "upstream_protocol",
  overflow: "upstream_protocol",
  unsolicited: "upstream_protocol",
  ping_timeout: "ping_timeout",
  shutdown: "shutdown",
}
