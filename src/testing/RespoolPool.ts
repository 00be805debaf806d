/**
 * Puts respool's pool behind `PoolUnderTest`: `ConnectionPool`, `Evictor` and `TurnMemory`, used as the executor uses
 * them.
 *
 * The `Dialer` is the scripted upstream. A completed turn records its checkpoint and then ends its lease, in one step.
 */
import { Context, Effect, Layer, Redacted, Scope } from "effect"
import type { SettingsValues } from "../config/Settings.ts"
import { Settings, withOnlyUpstream } from "../config/Settings.ts"
import type { Checkpoint } from "../turn/memory/Checkpoint.ts"
import { Revocation } from "../turn/Revocation.ts"
import type { ChainId } from "../turn/memory/TurnMemory.ts"
import { TurnMemory } from "../turn/memory/TurnMemory.ts"
import type { Affinity } from "../upstream/pool/Affinity.ts"
import { Availability } from "../upstream/pool/Availability.ts"
import { ConnectionPool } from "../upstream/pool/ConnectionPool.ts"
import type { Socket, SocketHandlers } from "../upstream/dialer/Dialer.ts"
import { DialError, Dialer } from "../upstream/dialer/Dialer.ts"
import { Evictor } from "../upstream/pool/Evictor.ts"
import { makeUpstream, Upstreams } from "../upstream/route/Upstreams.ts"
import type { Lease, LeaseRequest, PoolReport } from "./PoolUnderTest.ts"
import { PoolUnderTest } from "./PoolUnderTest.ts"
import type { Rules } from "./model/Rules.ts"
import type { Key, Limits } from "./schedule/Schedule.ts"
import { scopeOf } from "./schedule/Schedule.ts"
import { ScriptedUpstream } from "./world/ScriptedUpstream.ts"
import type { Subject } from "./Verify.ts"

/** No two of these times end together, so that the order of timers does not matter. */
const times = { idleTtl: 10_000, maxAge: 14_000, pingInterval: 8_000, handshakeTimeout: 7_500 }

export const rules: Rules = {
  waitFor: 5_000,
  connectWithin: times.handshakeTimeout,
  idleTtl: times.idleTtl,
  maxAge: times.maxAge,
  sweepEvery: times.pingInterval / 2,
  makesRoom: true,
  takesOver: true,
  sharesFairly: true,
  remembers: true,
  fair: false,
  candidates: (idle, { line }) => {
    const continued = idle
      .filter(({ checkpoint }) => line !== undefined && checkpoint?.line === line)
      .sort((a, b) => (b.checkpoint?.order ?? 0) - (a.checkpoint?.order ?? 0))
    const blank = idle.filter(({ checkpoint }) => checkpoint === undefined)
    const young = blank.findIndex(({ expired }) => !expired)
    return [...continued, ...(young === -1 ? blank : blank.slice(0, young + 1))]
  },
}

const settingsOf = ({ full, perLine, perScope, total }: Limits): SettingsValues =>
  withOnlyUpstream({
    ...Settings.defaults,
    ...times,
    maxConnections: total,
    maxConnectionsPerScope: perScope,
    maxConnectionsPerSession: perLine,
    busy: full === "wait" ? "wait" : "dial",
  })

/** Ties the pool's numbers of its connections to the upstream's, and lets the upstream speak to the pool. */
class Dialled extends Context.Service<
  Dialled,
  {
    readonly byPoolId: Map<number, { readonly connection: number; readonly handlers: SocketHandlers }>
    readonly next: { poolId: () => number | undefined }
  }
>()("respool/testing/RespoolPool/Dialled") {
  static readonly layer = Layer.sync(Dialled, () => ({ byPoolId: new Map(), next: { poolId: () => undefined } }))
}

const dialer = Layer.effect(
  Dialer,
  Effect.gen(function* () {
    const upstream = yield* ScriptedUpstream
    const { byPoolId, next } = yield* Dialled
    const socket = (handlers: SocketHandlers): Socket => ({
      handshake: { status: 101, headers: {} },
      send: () => true,
      ping: () => handlers.onAlive(),
      bufferedAmount: () => 0,
      pause: () => {},
      resume: () => {},
    })
    return Dialer.of({
      dial: ({ headers }, handlers) =>
        Effect.suspend(() => {
          const poolId = next.poolId()
          if (poolId !== undefined) byPoolId.set(poolId, { connection: upstream.records().length + 1, handlers })
          const events = { onFrame: () => handlers.onText("frame"), onClose: () => handlers.onClose(1006, "") }
          return upstream.open(headers["key"] as Key, events)
        }).pipe(
          Effect.mapError(({ message }) => new DialError({ reason: "Unreachable", message })),
          Effect.as(socket(handlers)),
        ),
    })
  }),
)

interface Remembered {
  readonly key: Key
  readonly turn: number
  readonly line: number | undefined
  readonly order: number
}

const make = Effect.gen(function* () {
  const pool = yield* ConnectionPool
  const memory = yield* TurnMemory
  const upstream = makeUpstream((yield* Settings).upstreams[0])
  const { byPoolId, next } = yield* Dialled
  const turns = new WeakMap<Checkpoint, Remembered>()
  let leases = 0
  let order = 0
  // The pool dials in the step in which it reserves, so the last connection that is connecting is the one being
  // dialled.
  next.poolId = () => pool.connections().findLast(({ state }) => state === "Connecting")?.id

  const remembered = (chain: ChainId | undefined) => {
    const checkpoint = chain === undefined ? undefined : memory.checkpointOf(chain)
    return checkpoint === undefined ? undefined : turns.get(checkpoint)
  }
  const recall = (key: Key, line: number): ReadonlyArray<ChainId> =>
    pool
      .connections()
      .flatMap(({ chain }) => {
        const found = remembered(chain)
        return chain !== undefined && found?.key === key && found.line === line ? [{ chain, order: found.order }] : []
      })
      .sort((a, b) => b.order - a.order)
      .map(({ chain }) => chain)

  const lease = Effect.fnUntraced(function* ({ key, line, turn }: LeaseRequest) {
    const session = line === undefined ? undefined : `line ${line}`
    const affinity: Affinity = {
      key,
      scope: scopeOf(key),
      upstream,
      credential: key,
      // Each lease has a URL of its own, since the back-off after a failed dial, kept by URL, is not tested here.
      url: `ws://upstream/${++leases}/v1/responses`,
      headers: Redacted.make({ key }),
    }
    const leased = yield* pool.lease({
      affinity,
      session,
      anchor: undefined,
      recall: () => (line === undefined ? [] : recall(key, line)),
    })
    const { chain, connectionId: id } = leased
    if (leased.isNew) yield* memory.attach(chain).pipe(Scope.provide(leased.chainScope))
    const continued = line !== undefined && remembered(chain)?.line === line
    leased.listen({
      onText: (text) => {
        if (text === "completed") {
          const checkpoint: Checkpoint = { responseId: `resp_${++order}`, input: undefined, output: [], members: "" }
          turns.set(checkpoint, { key, turn, line, order })
          memory.record(chain, { affinity: key, session }, checkpoint)
          leased.complete(continued ? "continued" : "once")
        } else if (text === "incomplete") {
          memory.forget(chain)
          leased.complete("none")
        }
      },
      onLost: () => {},
    })
    return {
      connection: byPoolId.get(id)?.connection ?? 0,
      finish: (outcome) => Effect.sync(() => byPoolId.get(id)?.handlers.onText(outcome)),
    } satisfies Lease
  })

  const report = (): PoolReport => ({
    connections: pool.connections().map(({ chain, id, session, state }) => ({
      connection: byPoolId.get(id)?.connection ?? 0,
      phase: state,
      line: session === undefined ? undefined : Number(session.slice("line ".length)),
      checkpoint: remembered(chain)?.turn,
    })),
    waiting: pool.waiting(),
    entries: memory.size(),
  })

  return PoolUnderTest.of({
    lease,
    report,
    evictIdle: (key) => pool.evictIdle("closed", ({ affinity }) => affinity.key === key),
  })
})

/** The services that this driver leases from and records in. */
export type Services = ConnectionPool | TurnMemory

/**
 * The pool of an app that composes respool's layers in another way: `pool` is its `ConnectionPool` with all that it
 * needs, except the `Dialer`, which is the scripted upstream, and the `Settings`, which are the schedule's caps.
 */
export const subjectOf = (pool: Layer.Layer<Services, never, Dialer | Settings>): Subject => ({
  rules,
  pool: (limits) =>
    Layer.effect(PoolUnderTest, make).pipe(
      Layer.provide(pool),
      Layer.provide([dialer, Layer.succeed(Settings, settingsOf(limits))]),
      Layer.provide(Dialled.layer),
    ),
})

/** The pool that respool itself uses. */
export const subject: Subject = subjectOf(
  Evictor.layerNoDeps.pipe(
    Layer.provideMerge(ConnectionPool.layerNoDeps),
    Layer.provideMerge([TurnMemory.layer, Availability.layer, Revocation.layer, Upstreams.layerNoDeps]),
  ),
)
