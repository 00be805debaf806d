/**
 * Carries each turn on the node that owns its session: here, or on another that it is handed to.
 *
 * What the owner did not take is run here, at once: nothing of it can have run there. What it may have taken is never run
 * again. A turn that another node handed to this one does not come through here, so that none is handed on.
 */
import { Cause, Clock, Effect, Exit, FiberSet } from "effect"
import { monotonicMillisOf } from "../turn/Elapsed.ts"
import type { TurnEnd, TurnExecutor, TurnRequest, TurnRoute, TurnSink } from "../turn/Executor.ts"
import type { BodyHeads } from "../turn/memory/BodyHeads.ts"
import { inSlices } from "../turn/Slices.ts"
import { Observing } from "../turn/record/Observing.ts"
import type { TurnError } from "../turn/TurnError.ts"
import type { Digester } from "../wire/Digest.ts"
import { written } from "./Envelope.ts"
import { handOver } from "./Handover.ts"
import type { Node, Nodes } from "./Nodes.ts"
import type { Directory } from "./places/Directory.ts"
import * as Places from "./places/Places.ts"
import { placementOf, ResponseNodes } from "./Placement.ts"
import type { TakeoverReason } from "./Refusal.ts"
import { NotTaken } from "./Refusal.ts"
import type { Sealing } from "./sealed/Sealing.ts"
import * as Silence from "./Silence.ts"

export interface ClusterExecutorOptions {
  readonly nodes: Nodes["Service"]
  readonly sealing: Sealing
  readonly directory: Directory
  /** Runs turns on this node's own connections. */
  readonly local: TurnExecutor
  readonly heads: BodyHeads["Service"]
  /** Under the same key on every node. */
  readonly digester: Digester
  /** How long a slow client may take nothing of its answer, in milliseconds. */
  readonly clientTimeout: number
}

const encoder = new TextEncoder()

/** Adds to a turn's route where it runs, and why not at its owner. */
class Placed implements TurnSink {
  readonly #sink: TurnSink
  readonly #node: string
  readonly #takeover: TakeoverReason | undefined

  constructor(sink: TurnSink, node: string, takeover: TakeoverReason | undefined) {
    this.#sink = sink
    this.#node = node
    this.#takeover = takeover
  }

  route(route: TurnRoute) {
    const takeover = this.#takeover
    this.#sink.route({ ...route, node: this.#node, ...(takeover === undefined ? {} : { takeover }) })
  }

  head(headers: Readonly<Record<string, string>>) {
    this.#sink.head(headers)
  }

  event(type: string, text: string): boolean {
    return this.#sink.event(type, text)
  }

  onDrain(resume: () => void, taken: () => void) {
    this.#sink.onDrain(resume, taken)
  }
}

/** What a refusal says of the node that refused. */
const says = {
  owner_unreachable: "gone",
  owner_draining: "draining",
  owner_restarted: "restarted",
  owner_foreign: "foreign",
  owner_busy: undefined,
} as const satisfies Record<TakeoverReason, unknown>

/** What became of a turn that its owner took. */
const outcomeOf = (exit: Exit.Exit<TurnEnd, TurnError | NotTaken>): string => {
  if (Exit.isSuccess(exit)) return "ended"
  if (Cause.hasInterruptsOnly(exit.cause)) return "cancelled"
  const error = Cause.findErrorOption(exit.cause)
  const isLost = error._tag === "Some" && "delivery" in error.value && error.value.reason === "turn_outcome_unknown"
  return isLost ? "lost" : "failed"
}

export const make = Effect.fnUntraced(function* (options: ClusterExecutorOptions) {
  const { clientTimeout, digester, directory, heads, local, nodes, sealing } = options
  const clock = yield* Clock.Clock
  const silence = yield* Silence.make
  const observing = yield* Observing
  const responses = new ResponseNodes()
  const fork = yield* FiberSet.makeRuntime<never>()
  const holderOf = Places.make(nodes, sealing, directory, () => monotonicMillisOf(clock), fork)

  const here = (turn: TurnRequest, sink: TurnSink, takeover?: TakeoverReason) =>
    local.execute(turn, new Placed(sink, nodes.self, takeover))

  const there = Effect.fnUntraced(function* (turn: TurnRequest, sink: TurnSink, node: Node) {
    if (node.boot === undefined) return yield* new NotTaken({ reason: "owner_unreachable" })
    const { bytes } = turn.body
    const group = heads.beginningOf(turn.body)?.group
    const secret = encoder.encode(written(turn, monotonicMillisOf(clock), group))
    const { label, text } = sealing.label(node.boot, { sealed: secret.length, body: bytes.length })
    const parts = yield* inSlices(sealing.seal(label, secret, bytes))
    const handedAt = monotonicMillisOf(clock)
    let takenMs: number | undefined
    const over = (exit: Exit.Exit<TurnEnd, TurnError | NotTaken>) => {
      if (takenMs !== undefined) observing.forwarded({ outcome: outcomeOf(exit), takenMs })
      return Effect.void
    }
    const handing = handOver({
      node,
      label: text,
      parts,
      answerKey: sealing.answerKey(label),
      sink,
      silence,
      clientTimeout,
      taken: () => {
        takenMs ??= monotonicMillisOf(clock) - handedAt
        nodes.seen(node)
      },
      lost: () => nodes.lost(node),
    })
    return yield* Effect.onExit(handing, over)
  })

  const handed = Effect.fnUntraced(
    function* (turn: TurnRequest, sink: TurnSink, node: Node) {
      const end = yield* there(turn, sink, node)
      nodes.proved(node)
      return end
    },
    (effect, _turn, _sink, node) =>
      Effect.tapErrorTag(effect, "NotTaken", ({ reason }) =>
        Effect.sync(() => {
          const how = says[reason]
          if (how !== undefined) nodes.refused(node, how)
        }),
      ),
  )

  const tried = (turn: TurnRequest, sink: TurnSink, name: string) =>
    Effect.flatMap(nodes.reach(name), (node) => handed(turn, sink, node))

  /** Hands the turn over, or takes it over. An owner that started anew is tried once more. */
  const elsewhere = (turn: TurnRequest, sink: TurnSink, name: string): Effect.Effect<TurnEnd, TurnError> =>
    tried(turn, sink, name).pipe(
      Effect.catchIf(
        (error) => error._tag === "NotTaken" && error.reason === "owner_restarted",
        () => tried(turn, sink, name),
      ),
      Effect.catchTag("NotTaken", ({ reason }) => {
        observing.takenOver({ reason })
        return here(turn, sink, reason)
      }),
    )

  const ownerOf = Effect.fnUntraced(function* (turn: TurnRequest) {
    const placement = yield* inSlices(placementOf(turn, digester))
    if (placement._tag === "Here") return nodes.self
    if (placement._tag === "Key") return yield* holderOf(placement.key)
    const name = responses.of(placement.id)
    return name !== undefined && nodes.ring().names.includes(name) ? name : nodes.self
  })

  const execute = Effect.fnUntraced(function* (turn: TurnRequest, sink: TurnSink) {
    const owner = yield* ownerOf(turn)
    const end = yield* owner === nodes.self ? here(turn, sink) : elsewhere(turn, sink, owner)
    if (end.responseId !== undefined && turn.session === undefined) responses.made(end.responseId, owner)
    return end
  })

  return { execute } satisfies TurnExecutor
})
