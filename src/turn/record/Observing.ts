/**
 * Tells whoever wants to know what happens: turns as they begin and end, what becomes of connections, and gauges to read.
 *
 * What happens is told in the step in which it does, so a listener must be quick and must not throw. Without the layer
 * nobody listens, and telling costs nothing: a service takes it from its context, where it need not be.
 */
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { RunningTurn, TurnRecord } from "./TurnRecord.ts"

/** A dial that is over. */
interface Dialled {
  readonly connectionId: number
  /** The upstream's name. */
  readonly upstream: string
  /** `opened`, or why there is no connection: one of a bounded set. */
  readonly outcome: string
  readonly millis: number
}

/** A connection that ended. */
interface Evicted {
  readonly connectionId: number
  readonly upstream: string
  readonly reason: string
}

/** A further attempt of a turn. */
interface Retried {
  readonly turnId: string
  /** As the retry's reason is named; over HTTP `http_` and the reason. */
  readonly reason: string
}

/** A turn that was handed to its owner, and is over there or lost. */
interface Forwarded {
  /** One of a bounded set. */
  readonly outcome: string
  /** Until the owner had taken it, in milliseconds. */
  readonly takenMs: number
}

/** A turn that its owner did not take. */
interface TakenOver {
  readonly reason: string
}

interface Listener {
  readonly turnStarted?: (turn: RunningTurn) => void
  readonly turnEnded?: (turn: TurnRecord) => void
  readonly dialled?: (dialled: Dialled) => void
  readonly evicted?: (evicted: Evicted) => void
  readonly retried?: (retried: Retried) => void
  readonly forwarded?: (forwarded: Forwarded) => void
  readonly takenOver?: (takenOver: TakenOver) => void
  /** Called with each gauge, with those that were offered before as well. */
  readonly offered?: (gauge: Gauge) => void
  /** Called with who tells the connections, with those that were there before as well. */
  readonly connectionsOffered?: (read: ReadConnections) => void
}

/** An upstream connection, as it is shown to people. */
export interface ShownConnection {
  readonly id: number
  readonly upstream: string
  readonly state: "connecting" | "leased" | "idle"
  /** In milliseconds since it opened; undefined: it is not open yet. */
  readonly age: number | undefined
  /** The session's name as its client wrote it; undefined: there is none. */
  readonly session: string | undefined
  /** How many turns the conversation that it holds has; of several the longest. */
  readonly turns: number
}

/** Which of the upstream connections are shown. */
export interface ConnectionsView {
  /** How many of those that fit are passed over. */
  readonly from: number
  readonly atMost: number
  /** A state; undefined: all. */
  readonly state: string | undefined
}

/** How many upstream connections fit, and a page of them. */
export type ReadConnections = (view: ConnectionsView) => {
  readonly fitting: number
  readonly rows: ReadonlyArray<ShownConnection>
}

type GaugeName =
  | "connections"
  | "connections_max"
  | "turns_running"
  | "turns_waiting"
  | "buffered_bytes"
  | "client_sockets"
  | "nodes"
  | "turns_of_others"
  | "event_loop_lag_seconds"

/** A figure that is read when somebody asks for it. */
interface Gauge {
  readonly name: GaugeName
  readonly labels: Readonly<Record<string, string>>
  readonly read: () => number
}

export interface Observing extends Required<Omit<Listener, "offered" | "connectionsOffered">> {
  readonly listen: (listener: Listener) => Effect.Effect<void, never, Scope.Scope>
  /** Offers a gauge for as long as the current scope lasts. */
  readonly gauge: (
    name: GaugeName,
    read: () => number,
    labels?: Gauge["labels"],
  ) => Effect.Effect<void, never, Scope.Scope>
  /** Offers to tell the connections for as long as the current scope lasts. */
  readonly connections: (read: ReadConnections) => Effect.Effect<void, never, Scope.Scope>
}

const kept = <A>(all: Set<A>, one: A) =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => all.add(one)),
      () => Effect.sync(() => all.delete(one)),
    ),
  )

const make = (): Observing => {
  const listeners = new Set<Listener>()
  const gauges = new Set<Gauge>()
  const pools = new Set<ReadConnections>()
  const offer = (gauge: Gauge) => {
    for (const listener of listeners) listener.offered?.(gauge)
  }
  return {
    turnStarted: (turn) => {
      for (const listener of listeners) listener.turnStarted?.(turn)
    },
    turnEnded: (turn) => {
      for (const listener of listeners) listener.turnEnded?.(turn)
    },
    dialled: (dialled) => {
      for (const listener of listeners) listener.dialled?.(dialled)
    },
    evicted: (evicted) => {
      for (const listener of listeners) listener.evicted?.(evicted)
    },
    retried: (retried) => {
      for (const listener of listeners) listener.retried?.(retried)
    },
    forwarded: (forwarded) => {
      for (const listener of listeners) listener.forwarded?.(forwarded)
    },
    takenOver: (takenOver) => {
      for (const listener of listeners) listener.takenOver?.(takenOver)
    },
    listen: (listener) =>
      Effect.tap(kept(listeners, listener), () =>
        Effect.sync(() => {
          for (const gauge of gauges) listener.offered?.(gauge)
          for (const pool of pools) listener.connectionsOffered?.(pool)
        }),
      ),
    gauge: (name, read, labels = {}) => {
      const gauge = { name, read, labels }
      return Effect.tap(kept(gauges, gauge), () => Effect.sync(() => offer(gauge)))
    },
    connections: (read) =>
      Effect.tap(kept(pools, read), () =>
        Effect.sync(() => {
          for (const listener of listeners) listener.connectionsOffered?.(read)
        }),
      ),
  }
}

const nothing = () => {}

const nobody: Observing = {
  turnStarted: nothing,
  turnEnded: nothing,
  dialled: nothing,
  evicted: nothing,
  retried: nothing,
  forwarded: nothing,
  takenOver: nothing,
  listen: () => Effect.void,
  gauge: () => Effect.void,
  connections: () => Effect.void,
}

export const Observing = Context.Reference<Observing>("respool/turn/Observing", { defaultValue: () => nobody })

export const layer = Layer.sync(Observing, make)
