/**
 * Knows which nodes live, from what comes of asking them and of handing them turns, and makes the ring of them.
 *
 * A node is taken to live until something shows the contrary, so that a start waits for nobody. One that a turn was lost
 * with is left out for some seconds, whatever else says that it lives: who answers a hello may still not answer turns.
 * Where nobody else lives, this node is alone and owns everything.
 */
import type { Scope } from "effect"
import { Clock, Context, Effect, Layer, Option, Schedule } from "effect"
import { addressOf, hostAndPort } from "../config/Address.ts"
import { monotonicMillisOf } from "../turn/Elapsed.ts"
import { version } from "./Envelope.ts"
import * as Hello from "./sealed/Hello.ts"
import { Membership } from "./members/Membership.ts"
import type { TakeoverReason } from "./Refusal.ts"
import { NotTaken } from "./Refusal.ts"
import type { Ring } from "./Ring.ts"
import { ringOf } from "./Ring.ts"
import type { Sealing } from "./sealed/Sealing.ts"

/** How a node is named in the ring, in headers and in the log: `10.0.0.1:8090`. */
export const nameOf = (address: string): string => hostAndPort(addressOf(new URL(address)))

type NodeState =
  /** Nothing shows that it does not live. */
  | "alive"
  /** It takes no new turns. */
  | "draining"
  /** It does not answer, or a turn was lost with it. */
  | "gone"
  /** It has another secret, or another version of what nodes hand each other. */
  | "foreign"
  /** The address leads to this node itself. */
  | "itself"

export interface Node {
  readonly address: string
  /** As it says itself, once it has; else as its address says. */
  readonly name: string
  readonly state: NodeState
  /** Undefined: it has not been asked, or it is gone. */
  readonly boot: string | undefined
  /** How many sessions have moved, of those whose keeper it is, when it was asked last. */
  readonly moved: number
}

interface Known extends Node {
  name: string
  state: NodeState
  boot: string | undefined
  moved: number
  /** When it showed last that it lives, in milliseconds of the monotonic clock. */
  seenAt: number
  /** Until then it is left out, whatever it says. */
  outUntil: number
  /** Turns lost with it one after the other. */
  losses: number
}

/** How often every node is asked, in milliseconds. */
const askEvery = 1_000

/** A node that showed a sign of life within this time, in milliseconds, is not asked before it is handed a turn. */
const freshFor = 1_500

/** How long an answer may take, in milliseconds. */
const answerWithin = 700

/** For how long a node is left out with which a turn was lost, in milliseconds; twice as long with each further one. */
const outFor = 3_000
const outAtMost = 30_000

export class Nodes extends Context.Service<
  Nodes,
  {
    readonly self: string
    /** Those that live, and this one. */
    readonly ring: () => Ring
    /** All that should be there, but this one. */
    readonly all: () => ReadonlyArray<Node>
    /** The one of that name; undefined: there is none. */
    readonly named: (name: string) => Node | undefined
    /** The node of that name as it can be handed a turn; fails where it can't, which may have been found out just now. */
    readonly reach: (name: string) => Effect.Effect<Node, NotTaken>
    readonly seen: (node: Node) => void
    /** What a node said when it refused a turn, or that it could not be reached. */
    readonly refused: (node: Node, how: "draining" | "gone" | "restarted" | "foreign") => void
    /** A turn was lost with it. */
    readonly lost: (node: Node) => void
    /** A turn ended as it should. */
    readonly proved: (node: Node) => void
    /** Tells those that live that this node stops, and waits until they know, or some time has passed. */
    readonly takeLeave: Effect.Effect<void>
    /** Asks the node of that name now, since it may be stopping. */
    readonly askAnew: (name: string) => Effect.Effect<void>
  }
>()("respool/cluster/Nodes") {
  static readonly layerNoDeps = (address: string, sealing: Sealing) =>
    Layer.effect(
      Nodes,
      Effect.suspend(() => make(address, sealing)),
    )
}

/** Why a node in that state is handed no turn. */
const because: Partial<Record<NodeState, TakeoverReason>> = {
  draining: "owner_draining",
  gone: "owner_unreachable",
  foreign: "owner_foreign",
  itself: "owner_unreachable",
}

const make = Effect.fnUntraced(function* (
  address: string,
  sealing: Sealing,
): Effect.fn.Return<Nodes["Service"], never, Membership | Scope.Scope> {
  const membership = yield* Membership
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)
  const self = nameOf(address)
  const known = new Map<string, Known>()
  let ring: Ring | undefined

  const change = (node: Known, state: NodeState, name = node.name) => {
    if (node.state === state && node.name === name) return Effect.void
    const before = node.state
    node.state = state
    node.name = name
    ring = undefined
    if (before === state || state === "itself") return Effect.void
    return Effect.annotateLogs(Effect.logInfo("a node of the cluster changed"), { node: name, state, before })
  }

  const fork = yield* Effect.map(Effect.context<never>(), (context) => (said: Effect.Effect<void>) => {
    Effect.runForkWith(context)(said)
  })

  /** Takes over which nodes there should be. */
  const follow = () => {
    const told = new Set(membership.addresses().filter((other) => nameOf(other) !== self))
    for (const other of told) {
      if (known.has(other)) continue
      const name = nameOf(other)
      const fresh = { boot: undefined, moved: 0, seenAt: -Infinity, outUntil: -Infinity, losses: 0 }
      known.set(other, { address: other, name, state: "alive", ...fresh })
      ring = undefined
    }
    for (const other of known.keys()) {
      if (told.has(other)) continue
      known.delete(other)
      ring = undefined
    }
  }

  const hello = (node: Known) =>
    Effect.map(
      Effect.timeoutOption(
        Effect.promise((signal) => Hello.greet(sealing, node.address, signal)),
        answerWithin,
      ),
      Option.getOrUndefined,
    )

  /** Asks a node, and notes what came of it. */
  const ask = Effect.fnUntraced(function* (node: Known) {
    const answer = yield* hello(node)
    if (answer === undefined) {
      node.boot = undefined
      return yield* change(node, "gone")
    }
    const { hello: said } = answer
    if (said === undefined || said.version !== version) return yield* change(node, "foreign")
    if (said.boot === sealing.bootId) return yield* change(node, "itself")
    if (said.boot !== node.boot) {
      node.boot = said.boot
      node.losses = 0
    }
    node.moved = said.moved
    node.seenAt = now()
    if (said.draining) return yield* change(node, "draining", said.node)
    if (node.outUntil > now()) return
    yield* change(node, "alive", said.node)
  })

  follow()
  yield* Effect.suspend(() => {
    follow()
    return Effect.forEach([...known.values()], ask, { concurrency: "unbounded", discard: true })
  }).pipe(Effect.delay(askEvery), Effect.repeat(Schedule.forever), Effect.forkScoped)

  const held = (node: Node): Known | undefined => known.get(node.address)

  return Nodes.of({
    self,
    ring: () => {
      if (ring !== undefined) return ring
      const others = [...known.values()].filter(({ state }) => state === "alive").map(({ name }) => name)
      ring = ringOf([self, ...others])
      return ring
    },
    all: () => [...known.values()],
    named: (name) => {
      for (const node of known.values()) if (node.name === name) return node
      return undefined
    },
    reach: Effect.fnUntraced(function* (name) {
      const node = [...known.values()].find((node) => node.name === name && node.state === "alive")
      if (node === undefined) return yield* new NotTaken({ reason: "owner_unreachable" })
      if (node.boot === undefined || now() - node.seenAt > freshFor) yield* ask(node)
      const reason = because[node.state] ?? (node.boot === undefined ? "owner_unreachable" : undefined)
      return reason === undefined ? node : yield* new NotTaken({ reason })
    }),
    seen: (node) => {
      const one = held(node)
      if (one !== undefined) one.seenAt = now()
    },
    refused: (node, how) => {
      const one = held(node)
      if (one === undefined) return
      if (how === "draining" || how === "foreign") return fork(change(one, how))
      one.boot = undefined
      if (how === "gone") fork(change(one, "gone"))
    },
    lost: (node) => {
      const one = held(node)
      if (one === undefined) return
      one.outUntil = now() + Math.min(outAtMost, outFor * 2 ** one.losses++)
      one.boot = undefined
      fork(change(one, "gone"))
    },
    proved: (node) => {
      const one = held(node)
      if (one !== undefined) one.losses = 0
    },
    takeLeave: Effect.suspend(() =>
      Effect.promise(() =>
        Promise.all(
          [...known.values()]
            .filter(({ state }) => state === "alive")
            .map((node) => Hello.takeLeave(sealing, node.address, self, answerWithin)),
        ),
      ),
    ),
    // What it says of itself counts, and not that somebody said it: who repeats a farewell changes nothing.
    askAnew: (name) =>
      Effect.forEach(
        [...known.values()].filter((node) => node.name === name),
        ask,
        { discard: true },
      ),
  })
})
