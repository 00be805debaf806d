/**
 * The lines that the pool writes into the log. The upstream's words are in none of them, since they may repeat what it
 * was sent.
 */
import { Effect } from "effect"
import type { Observing, ShownConnection } from "../../turn/record/Observing.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import type { Upstream } from "../route/Upstreams.ts"
import type { Connection } from "./Connection.ts"
import type { EvictReason } from "./ConnectionState.ts"

/** Why a connection ended: one line for each, for whoever looks for it. */
export const ended = ({ affinity, id }: Connection, reason: EvictReason, detail: string) =>
  Effect.logDebug("a connection ended").pipe(
    Effect.annotateLogs({
      upstream: affinity.upstream.name,
      connectionId: id,
      reason,
      ...(detail === "" ? {} : { error: detail }),
    }),
  )

/** Which connection was opened, and how long it took, in milliseconds. */
export const opened = ({ affinity, id }: Connection, millis: number) =>
  Effect.logDebug("a connection opened").pipe(
    Effect.annotateLogs({ upstream: affinity.upstream.name, connectionId: id, dialMs: millis }),
  )

/**
 * One line for each failed dial, which the back-off keeps few; the line of a turn that goes over HTTP has the reason
 * only.
 */
export const couldNotDial = ({ affinity }: Connection, error: TurnError) => {
  if (error.reason === "shutdown") return Effect.void
  const { host, pathname } = new URL(affinity.url)
  return Effect.logWarning("no connection to the upstream").pipe(
    Effect.annotateLogs({
      upstream: `${host}${pathname}`,
      reason: error.reason,
      ...(error.answer === undefined ? {} : { upstreamStatus: error.answer.status }),
      error: error.message,
    }),
  )
}

/** One line for an upstream whose sockets are of no use. */
export const closedUnheard = ({ affinity: { upstream } }: Connection) =>
  Effect.logWarning(
    upstream.transport === "websocket"
      ? "the upstream closes its sockets before it says anything on them"
      : "the upstream closes its sockets before it says anything on them: turns go over HTTP for five minutes",
  ).pipe(Effect.annotateLogs({ upstream: upstream.name }))

/** One line for a connection that an upstream lost by what it sent. */
export const notAsked = ({ affinity, id }: Connection, detail: string) =>
  Effect.logWarning("a connection was closed, since the upstream sent what was not asked for").pipe(
    Effect.annotateLogs({
      upstream: affinity.upstream.name,
      connectionId: id,
      ...(detail === "" ? {} : { error: detail }),
    }),
  )

/** One line for an upstream that no turn can continue. */
export const usedOnce = ({ name }: Upstream) =>
  Effect.logWarning("the upstream's ids do not tell its turns apart, so each of its connections carries one turn").pipe(
    Effect.annotateLogs({ upstream: name }),
  )

/** What of the pool is shown to whoever wants to know what goes on. */
interface Pool {
  readonly observing: Observing
  readonly connections: () => Iterable<Connection>
  /** How many connections there may be. */
  readonly most: number
  /** How many turns wait for one. */
  readonly waiting: () => number
  /** Milliseconds of `ageOf`. */
  readonly now: () => number
}

const states = ["connecting", "leased", "idle"] as const

const stateOf = ({ idleSince, state }: Connection): (typeof states)[number] =>
  state._tag === "Connecting" ? "connecting" : idleSince === undefined ? "leased" : "idle"

/** The session's name as the client wrote it: its key is the scope, with its length in front, and the name. */
const nameIn = (key: string | undefined, scope: string): string | undefined => {
  const inScope = `${scope.length}:${scope}`
  return key?.startsWith(inScope) === true ? key.slice(inScope.length) : undefined
}

const shown = (connection: Connection, now: number): ShownConnection => {
  const { affinity, id, session, state } = connection
  const open = state._tag === "Open" ? state : undefined
  return {
    id,
    upstream: affinity.upstream.name,
    state: stateOf(connection),
    age: open === undefined ? undefined : now - open.openedAt,
    session: nameIn(session, affinity.scope),
    turns: Math.max(0, ...(open?.chains.map(({ turns }) => turns) ?? [])),
  }
}

/** How many connections there are in each state, after one walk over them. */
const counted = (connections: Iterable<Connection>) => {
  const counts = { connecting: 0, leased: 0, idle: 0 }
  for (const connection of connections) counts[stateOf(connection)]++
  return counts
}

/** For as long as the current scope lasts. */
export const show = Effect.fnUntraced(function* ({ connections, most, now, observing, waiting }: Pool) {
  let latest: ReturnType<typeof counted> | undefined
  // Whoever reads all gauges at once, or those and a page, walks once: nothing changes within a step.
  const counts = () => {
    if (latest === undefined) queueMicrotask(() => (latest = undefined))
    return (latest ??= counted(connections()))
  }
  yield* Effect.forEach(states, (state) => observing.gauge("connections", () => counts()[state], { state }))
  yield* observing.gauge("connections_max", () => most)
  yield* observing.gauge("turns_waiting", waiting)
  yield* observing.connections(({ atMost, from, state }) => {
    const one = states.find((name) => name === state)
    const { connecting, idle, leased } = counts()
    const fitting = state === undefined ? connecting + idle + leased : one === undefined ? 0 : counts()[one]
    const rows: Array<ShownConnection> = []
    if (from >= fitting) return { fitting, rows }
    const at = now()
    let passed = 0
    for (const connection of connections()) {
      if (state !== undefined && stateOf(connection) !== state) continue
      if (passed++ < from) continue
      rows.push(shown(connection, at))
      if (rows.length === atMost) break
    }
    return { fitting, rows }
  })
})
