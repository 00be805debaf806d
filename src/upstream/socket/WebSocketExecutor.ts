/**
 * Carries a turn over a pooled WebSocket: look up and lease, plan, send, listen until the terminal event.
 *
 * At the terminal event, in one synchronous step before its bytes are handed on, the checkpoint is recorded and the
 * connection becomes idle, so the client's next turn finds both, however fast it comes. After any other end, such as an
 * interruption, the lease's finalizer evicts the connection, which terminates the socket: the protocol has no other
 * cancel.
 */
import { randomBytes } from "node:crypto"
import { Clock, Context, Effect, Layer, Result, Scope } from "effect"
import { Settings } from "../../config/Settings.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnSink } from "../../turn/Executor.ts"
import { checkpointOf } from "../../turn/memory/Checkpoint.ts"
import { Executor } from "../../turn/Executor.ts"
import { BodyHeads } from "../../turn/memory/BodyHeads.ts"
import * as Deadlines from "../../turn/Deadlines.ts"
import { Binding } from "../../turn/attempt/Binding.ts"
import { Namings } from "../../turn/attempt/Naming.ts"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import type { RetryReason } from "../../turn/attempt/Recovery.ts"
import { TurnClock } from "../../turn/attempt/TurnClock.ts"
import * as Sinks from "../../turn/Sinks.ts"
import { itemsIn, lineageInSteps, planned } from "../../turn/memory/Lineage.ts"
import { becauseOf } from "../../turn/memory/Near.ts"
import type { Plan } from "../../turn/memory/Plan.ts"
import { plan } from "../../turn/memory/Plan.ts"
import type { RecallKey } from "../../turn/memory/TurnMemory.ts"
import { TurnMemory } from "../../turn/memory/TurnMemory.ts"
import { inSlices } from "../../turn/Slices.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { makeDigester } from "../../wire/Digest.ts"
import { frameInSteps, frameSize, inputSize } from "../../wire/Frame.ts"
import { hopOf } from "../../wire/Hops.ts"
import { bodyInSteps } from "../../wire/RequestBody.ts"
import { affinityOf } from "../pool/Affinity.ts"
import { ConnectionPool } from "../pool/ConnectionPool.ts"
import type { Lease } from "../pool/Lease.ts"
import { codexSink, isSelfContained, membersOnSocket } from "../route/CodexRules.ts"
import type { RoutedTurn } from "../route/Routing.ts"
import { Routing } from "../route/Routing.ts"
import { LearnedLimits } from "./LearnedLimits.ts"
import { SocketTurn } from "./SocketTurn.ts"

/** Ends after which the upstream's connection can carry another turn. */
const goesOn: ReadonlySet<string> = new Set(["response.completed", "response.incomplete"])

/** One try to carry a turn; `fresh`: on a new connection, which remembers nothing, so that the whole input is sent. */
export interface Attempt {
  readonly fresh: boolean
  /** Why it is made; undefined: it is the turn's first. With `fork_refused` the whole input is sent. */
  readonly reason?: RetryReason
}

export class WebSocketExecutor extends Context.Service<
  WebSocketExecutor,
  TurnExecutor & {
    /** Makes one attempt; the caller decides what follows from its failure. */
    readonly attempt: (turn: RoutedTurn, sink: TurnSink, attempt: Attempt) => Effect.Effect<TurnEnd, TurnError>
  }
>()("respool/upstream/WebSocketExecutor") {
  static readonly layerNoDeps = Layer.effect(
    WebSocketExecutor,
    Effect.suspend(() => make),
  )

  /** Carries turns over sockets alone, without a retry or a fallback. */
  static readonly layerExecutor = Layer.effect(Executor, Effect.map(WebSocketExecutor, Sinks.withHorizon))
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const routing = yield* Routing
  const pool = yield* ConnectionPool
  const memory = yield* TurnMemory
  const heads = yield* BodyHeads
  const clock = yield* Clock.Clock
  const deadlines = yield* Deadlines.make
  const digester = makeDigester(randomBytes(32))
  const ownHop = hopOf(settings)
  const limits = new LearnedLimits(() => monotonicMillisOf(clock))
  const namings = new Namings(() => monotonicMillisOf(clock))

  /** Reads the turn's items. What is known of the body's head is enough only if it leads to a chain. */
  function* read({ body, holds: room }: TurnRequest, key: RecallKey) {
    const known = heads.beginningOf(body)?.known
    if (known === undefined) return { body, lineage: yield* lineageInSteps(body, digester, { room }) }
    const lineage = yield* lineageInSteps(body, digester, { known: known.prefix, room })
    if (memory.recall(key, lineage, settings.reasoning).length > 0) return { body, lineage }
    const whole = Result.getOrThrow(yield* bodyInSteps(body.bytes))
    return { body: whole, lineage: yield* lineageInSteps(whole, digester, { room }) }
  }

  /**
   * Leases a connection and plans what is sent on it. What the turn's items are compared by is not kept any longer, since
   * it may be far larger than the body.
   */
  const begun = Effect.fnUntraced(function* (turn: RoutedTurn, scope: string, sink: TurnSink, attempt: Attempt) {
    const { clientSocket } = turn
    const affinity = affinityOf(turn, scope, ownHop)
    // Where there is no other way, a message that was too big once is tried again.
    const known = turn.upstream.transport === "auto" ? limits.largest(affinity.url) : Infinity
    const maxMessage = Math.min(turn.upstream.maxMessage, known)
    const set = clientSocket?.warmUp === true ? warmingUp(membersOnSocket(turn)) : membersOnSocket(turn)
    const omit = clientSocket?.omit
    const session = turn.session?.key
    const key = { affinity: affinity.key, session }
    const { body, lineage } = yield* inSlices(read(turn, key))
    const { anchor, chains } = lineage
    const recall = () => (attempt.reason === "fork_refused" ? [] : memory.recall(key, lineage, settings.reasoning))
    if (body.bytes.length > maxMessage && !chains && recall().length === 0) {
      const size = frameSize(body, { fromItem: 0, set, omit })
      if (size > maxMessage) return yield* tooBig(size, maxMessage)
    }
    const naming = namings.of(affinity.key)
    const fresh = attempt.fresh || naming.responsesRepeat
    const lease = yield* pool.lease({
      affinity,
      session,
      anchor: chains ? () => (anchor === undefined ? undefined : memory.holderOf(affinity.key, anchor)) : undefined,
      onlyHolder: clientSocket !== undefined && !isSelfContained(turn),
      recall,
      trace: turn.trace,
      fresh,
      warmUp: clientSocket?.warmUp === true,
    })
    const { chain, lane } = lease
    const told = Sinks.ofAttempt(turn.shown, codexSink(turn, sink, lease.handshake))
    const checkpoint = memory.checkpointOf(lease.source ?? chain)
    if (lease.isNew) {
      const attached = Effect.andThen(memory.attach(chain), heads.attach(chain))
      yield* Scope.provide(attached, lease.chainScope)
    }
    const decision = plan(lineage, checkpoint, settings.reasoning, limits.refusesAnchors(affinity.key))
    const near = () => (fresh ? undefined : memory.near(key, lineage, settings.reasoning))
    const because = becauseOf(decision, near, checkpoint !== undefined)
    const all = lane === undefined ? set : new Map([...(set ?? []), ["stream_id", JSON.stringify(lane)]])
    const options = all === undefined && omit === undefined ? decision : { ...decision, set: all, omit }
    const size = frameSize(body, options)
    if (size > maxMessage) {
      lease.release()
      return yield* tooBig(size, maxMessage)
    }
    told.route({
      upstream: turn.upstream.name,
      transport: "websocket",
      connection: lease.reused ? "reused" : "new",
      input: decision._tag === "Suffix" ? "suffix" : "full",
      ...because,
      ...(isFork(lease, decision) ? { reason: "forked" } : {}),
      connectionId: lease.connectionId,
      itemsSent: itemsIn(lineage) - decision.fromItem,
      items: itemsIn(lineage),
      dialMs: lease.dialMs,
      bytesUp: size,
      inputBytes: inputSize(body, decision.fromItem),
    })
    const covers = planned(lineage)
    const frame = yield* inSlices(frameInSteps(body, options))
    return { affinity, naming, lease, told, key, body, checkpoint, decision, covers, frame }
  })

  const leased = Effect.fnUntraced(function* (turn: RoutedTurn, scope: string, sink: TurnSink, attempt: Attempt) {
    const { affinity, body, checkpoint, covers, decision, frame, key, lease, naming, told } = yield* Effect.ensuring(
      begun(turn, scope, sink, attempt),
      Effect.sync(() => turn.holds?.(0)),
    )
    const { chain } = lease
    const { clientSocket } = turn
    const binding = new Binding({ ended: lease.ended, naming, hasDialect: turn.upstream.known.codex })
    const finished = (end: TurnEnd) => {
      const { responseId } = end
      const forked = isFork(lease, decision)
      if (decision.reason === "continued" && !forked) limits.anchorTaken(affinity.key)
      else if (attempt.reason === "suffix_refused") limits.anchorRefused(affinity.key)
      if (goesOn.has(end.type) && !binding.tells) {
        lease.evict("single_use")
      } else if (end.type === "response.completed" && responseId !== undefined) {
        // A steered response has more before it than its request says.
        const parent = clientSocket?.steering.steered === true ? "unknown" : checkpoint
        const next = checkpointOf(covers, responseId, end.output, digester, parent)
        memory.record(chain, key, next)
        const beginning = heads.beginningOf(turn.body)
        if (beginning !== undefined && next.input !== undefined && !covers.chains) {
          heads.record(chain, beginning.group, body, next.input, beginning.known)
        }
        lease.complete(decision._tag === "Suffix" && lease.source === undefined ? "continued" : "once")
      } else if (end.type === "response.incomplete") {
        memory.forget(chain)
        lease.complete("none")
      } else {
        lease.evict("failed")
      }
    }
    return yield* new SocketTurn({
      clock: new TurnClock({ clock, times: settings, startedAt: turn.startedAt }),
      lease,
      sink: told,
      frame,
      ownAnchor: decision.previousResponseId,
      binding,
      steering: clientSocket?.steering,
      clientAnchor: clientSocket?.anchor,
      finished,
    })
      .run(deadlines)
      .pipe(
        Effect.tapError(({ reason }) =>
          reason === "message_too_big" ? Effect.sync(() => limits.tooBig(affinity.url, frame.length)) : Effect.void,
        ),
        Effect.mapError((error) => {
          if (lease.lane === undefined || !refusesLanes(error)) return error
          lease.noLanes()
          return error.with({ reason: "lanes_refused" })
        }),
      )
  })

  const tooBig = (length: number, limit: number) =>
    new TurnError({
      reason: "message_too_big",
      delivery: "NotSent",
      message: `the message of ${length} bytes is over the socket's limit of ${limit}`,
    })

  const attempt = (turn: RoutedTurn, sink: TurnSink, attempt: Attempt): Effect.Effect<TurnEnd, TurnError> => {
    const { scope } = turn.caller
    return scope === undefined
      ? Effect.fail(new TurnError({ reason: "no_scope", delivery: "NotSent", message: "the caller is not known" }))
      : Sinks.failureOfAttempt(turn.shown, Effect.scoped(leased(turn, scope, sink, attempt)))
  }

  return WebSocketExecutor.of({
    attempt,
    execute: (turn, sink) => Effect.flatMap(routing.turn(turn), (routed) => attempt(routed, sink, { fresh: false })),
  })
})

/** Whether the turn continues a response beside another turn that does. */
const isFork = ({ source }: Lease, { _tag, reason }: Plan) =>
  source !== undefined && _tag === "Suffix" && reason === "continued"

/** Upstreams without lanes say it in several ways: that the parameter is unknown, or unsupported (docs/protocol.md 1.4). */
const refusesLanes = ({ answer, delivery }: TurnError): boolean =>
  delivery === "Rejected" &&
  /un(?:known|supported|recogni[sz]ed|expected)\b[^"]{0,64}\bstream_id\b/i.test(answer?.body ?? "")

const warmingUp = (set: ReadonlyMap<string, string> | undefined) => new Map([...(set ?? []), ["generate", "false"]])
