/**
 * Carries a turn over a pooled WebSocket: look up and lease, plan, send, listen until the terminal event.
 *
 * At the terminal event, in one synchronous step before its bytes are handed on, the checkpoint is recorded and the
 * connection idle; so the client's next turn, however fast, finds both. Any other end, interruption first, leaves the
 * lease to its finalizer, which evicts and thereby terminates the socket: that is the only cancel the protocol has.
 */
import { randomBytes } from "node:crypto"
import { Clock, Context, Duration, Effect, Layer, Scope } from "effect"
import { Settings } from "../Settings.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnSink } from "../turn/Executor.ts"
import { checkpointOf } from "../turn/Checkpoint.ts"
import { Executor } from "../turn/Executor.ts"
import { lineageOf } from "../turn/Lineage.ts"
import { OutputCollector } from "../turn/OutputCollector.ts"
import { plan } from "../turn/Plan.ts"
import { TurnMemory } from "../turn/TurnMemory.ts"
import { TurnError } from "../turn/TurnError.ts"
import { makeDigester } from "../wire/Digest.ts"
import { eventType, isLifecycle, isTerminal } from "../wire/Event.ts"
import { errorOf } from "../wire/UpstreamError.ts"
import { toFrame } from "../wire/RequestBody.ts"
import { affinityOf } from "./Affinity.ts"
import { ConnectionPool } from "./ConnectionPool.ts"
import type { EvictReason } from "./ConnectionState.ts"
import type { Lease } from "./Lease.ts"
import { Upstream } from "./Upstream.ts"

export class WebSocketExecutor extends Context.Service<WebSocketExecutor, TurnExecutor>()(
  "respool/upstream/WebSocketExecutor",
) {
  static readonly layerNoDeps = Layer.effect(
    WebSocketExecutor,
    Effect.suspend(() => make),
  )

  /** The socket alone, without a fallback. */
  static readonly layerExecutor = Layer.effect(Executor, WebSocketExecutor)
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const upstream = yield* Upstream
  const pool = yield* ConnectionPool
  const memory = yield* TurnMemory
  const clock = yield* Clock.Clock
  const digester = makeDigester(randomBytes(32))
  const now = () => clock.currentTimeMillisUnsafe()

  /** Runs the leased turn; the events go from the socket's callback to the sink, no fiber between. */
  const listen = (lease: Lease, frame: Uint8Array, sink: TurnSink, finished: (end: TurnEnd) => void) => {
    let lastEventAt = now()
    let begun = false
    let content = false
    let over = false
    const startedAt = lastEventAt
    let end: (outcome: Effect.Effect<TurnEnd, TurnError>) => void = () => {}

    // The turn is told first: what it then hears of the eviction comes too late to be its reason.
    const fail = (evict: EvictReason, error: ConstructorParameters<typeof TurnError>[0]) => {
      end(Effect.fail(new TurnError(error)))
      lease.evict(evict)
    }

    const events = Effect.callback<TurnEnd, TurnError>((resume) => {
      const collector = new OutputCollector()
      end = resume
      lease.listen({
        onText: (text) => {
          lastEventAt = now()
          begun = true
          const type = eventType(text)
          if (type === undefined) {
            const message = "the upstream sent a frame that is not an event"
            return fail("protocol", { reason: "upstream_protocol", delivery: "Accepted", message })
          }
          if (type === "error") {
            const error = errorOf(text)
            return fail("failed", {
              reason: "upstream_error",
              // After content the model has run, whatever the upstream calls its error.
              delivery: content ? "Accepted" : "Rejected",
              message: error?.message ?? "the upstream answered with an error",
              event: text,
              ...(error === undefined
                ? {}
                : { answer: { status: error.status, headers: error.headers, body: error.body } }),
            })
          }
          if (isTerminal(type)) {
            over = true
            const { frame: last, end: ended } = collector.finish(type, text)
            finished(ended)
            sink.event(type, last)
            return resume(Effect.succeed(ended))
          }
          content ||= !isLifecycle(type)
          collector.add(type, text)
          if (!sink.event(type, text)) {
            lease.pause()
            sink.onDrain(() => lease.resume())
          }
        },
        onLost: (reason, detail) => {
          // A terminal event that evicts the connection has ended the turn itself.
          if (over) return
          const message = detail === "" ? "the connection to the upstream is gone" : detail
          const delivery = begun ? "Accepted" : "Ambiguous"
          resume(Effect.fail(new TurnError({ reason: lostReasons[reason] ?? "upstream_closed", delivery, message })))
        },
      })
      if (!lease.send(frame)) {
        fail("closed", {
          reason: "socket_lost_before_send",
          delivery: "NotSent",
          message: "the upstream had closed the connection",
        })
      }
    })

    /** Ends the turn when the upstream is silent; one sleeping fiber per turn, woken once per time-out, not per event. */
    const watch = Effect.gen(function* () {
      while (true) {
        const silence = begun ? settings.eventTimeout : settings.firstEventTimeout
        const deadline = Math.min(lastEventAt + silence, startedAt + settings.turnTimeout)
        const left = deadline - now()
        if (left > 0) {
          yield* Effect.sleep(Duration.millis(left))
          continue
        }
        const whole = now() - startedAt >= settings.turnTimeout
        return fail("timeout", {
          reason: whole ? "turn_timeout" : begun ? "event_timeout" : "first_event_timeout",
          delivery: begun ? "Accepted" : "Ambiguous",
          message: whole ? "the turn took longer than it may" : "the upstream sent no event in time",
        })
      }
    })

    return Effect.raceFirst(events, Effect.andThen(watch, Effect.never))
  }

  const leased = Effect.fnUntraced(function* (turn: TurnRequest & { readonly scope: string }, sink: TurnSink) {
    const lineage = lineageOf(turn.body, digester)
    const affinity = affinityOf(turn, `${upstream.responsesSocket}${turn.query}`, settings.forwardHeaders)
    const place = { affinity: affinity.key, session: turn.session }
    const { anchor } = lineage
    const lease = yield* pool.lease({
      affinity,
      session: turn.session,
      anchor: anchor === undefined ? undefined : () => memory.ownerOf(affinity.key, anchor),
      recall: () => memory.recall(place, lineage, settings.reasoning),
    })
    if (!lease.reused) yield* memory.attach(lease.connectionId).pipe(Scope.provide(lease.connectionScope))
    const checkpoint = memory.checkpointOf(lease.connectionId)
    const decision = plan(lineage, checkpoint, settings.reasoning)
    const frame = toFrame(turn.body, decision)
    if (frame.length > settings.maxMessage) {
      lease.release()
      return yield* new TurnError({
        reason: "message_too_big",
        delivery: "NotSent",
        message: `the message of ${frame.length} bytes is over the socket's limit of ${settings.maxMessage}`,
      })
    }
    sink.route({
      transport: "websocket",
      connection: lease.reused ? "reused" : "new",
      input: decision._tag === "Suffix" ? "suffix" : "full",
      reason: decision.reason,
      connectionId: lease.connectionId,
      itemsSent: lineage.items.length - decision.fromItem,
      items: lineage.items.length,
      bytesUp: frame.length,
    })
    return yield* listen(lease, frame, sink, (end) => {
      const { responseId } = end
      if (end.type === "response.completed" && responseId !== undefined) {
        memory.record(lease.connectionId, place, checkpointOf(lineage, responseId, end.output, digester))
        lease.complete(decision._tag === "Suffix" ? "continued" : "once")
      } else if (end.type === "response.incomplete") {
        memory.forget(lease.connectionId)
        lease.complete("none")
      } else {
        lease.evict("failed")
      }
    })
  })

  return WebSocketExecutor.of({
    execute: (turn, sink) => {
      const { scope } = turn
      return scope === undefined
        ? Effect.fail(new TurnError({ reason: "no_scope", delivery: "NotSent", message: "nobody to pool for" }))
        : Effect.scoped(leased({ ...turn, scope }, sink)).pipe(
            // Nothing was written, and another connection may be fine: its own plan, once.
            Effect.retry({ times: 1, while: ({ reason }) => reason === "socket_lost_before_send" }),
          )
    },
  })
})

/** What a connection's end means for the turn that held it. */
const lostReasons: Partial<Record<EvictReason, TurnError["reason"]>> = {
  closed: "upstream_closed",
  protocol: "upstream_protocol",
  unsolicited: "upstream_protocol",
  ping_timeout: "ping_timeout",
  shutdown: "shutdown",
}
