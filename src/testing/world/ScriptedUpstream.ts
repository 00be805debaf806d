/**
 * Plays the upstream of the pool under test, without a network: its connections open, hang, fail, speak and hang up as
 * a schedule says.
 *
 * The pool opens its connections here, so it is known without asking the pool which are open, and how often each was
 * closed.
 */
import { Clock, Context, Effect, Layer, Schema } from "effect"
import type { Scope } from "effect"
import type { DialOutcome, Key } from "../schedule/Schedule.ts"

export class ConnectError extends Schema.TaggedError<ConnectError>()("ConnectError", { message: Schema.String }) {}

/** What the pool hears of a connection; nothing before it has opened, nor after it was closed. */
export interface ConnectionEvents {
  readonly onFrame?: () => void
  readonly onClose?: () => void
}

export interface ScriptedConnection {
  /** In the order of the dials, from 1: the number that schedules use. */
  readonly id: number
  readonly key: Key
  /** Closes it. Every connection that has opened must be closed once, also when the peer hung up first. */
  readonly close: Effect.Effect<void>
}

/** `Abandoned`: interrupted while it hung. `Lost`: the peer hung up and the pool has not closed it yet. */
type ConnectionPhase = "Dialling" | "Refused" | "Abandoned" | "Open" | "Lost" | "Closed"

export interface ConnectionRecord {
  readonly id: number
  readonly key: Key
  readonly phase: ConnectionPhase
  /** Milliseconds of the clock. */
  readonly openedAt: number | undefined
  readonly closes: number
  readonly lost: boolean
}

interface Entry {
  readonly id: number
  readonly key: Key
  readonly events: ConnectionEvents
  phase: ConnectionPhase
  openedAt: number | undefined
  closes: number
  lost: boolean
  decide: ((outcome: "open" | "refuse") => void) | undefined
  readonly ended: Set<() => void>
}

export class ScriptedUpstream extends Context.Service<
  ScriptedUpstream,
  {
    /** For pools that call `close` themselves; interrupting it abandons the dial. */
    readonly connect: (key: Key, events?: ConnectionEvents) => Effect.Effect<ScriptedConnection, ConnectError>
    /** For pools that close a connection with a scope. */
    readonly open: (key: Key, events?: ConnectionEvents) => Effect.Effect<ScriptedConnection, ConnectError, Scope.Scope>
    /** Every dial so far. */
    readonly records: () => ReadonlyArray<ConnectionRecord>
    /** The script: what dials do, what becomes of one that hangs, and what the peer does by itself. */
    readonly script: {
      readonly dials: (outcome: DialOutcome) => void
      readonly answer: (id: number, outcome: "open" | "refuse") => void
      readonly close: (id: number) => void
      readonly frame: (id: number) => void
      /** Has the listener called once when either side ends the connection; the result takes the listener away. */
      readonly onEnd: (id: number, listener: () => void) => () => void
    }
  }
>()("respool/testing/ScriptedUpstream") {
  static readonly layer = Layer.effect(
    ScriptedUpstream,
    Effect.map(Clock.Clock, (clock) => make(() => clock.currentTimeMillisUnsafe())),
  )
}

const make = (now: () => number): ScriptedUpstream["Service"] => {
  const entries: Array<Entry> = []
  let dials: DialOutcome = "open"

  const end = (entry: Entry) => {
    for (const listener of entry.ended) listener()
    entry.ended.clear()
  }

  const opened = (entry: Entry): ScriptedConnection => {
    entry.phase = "Open"
    entry.openedAt = now()
    return {
      id: entry.id,
      key: entry.key,
      close: Effect.sync(() => {
        entry.closes++
        entry.phase = "Closed"
        end(entry)
      }),
    }
  }

  const refused = (entry: Entry) => {
    entry.phase = "Refused"
    return new ConnectError({ message: "the upstream refused the connection" })
  }

  const connect = (key: Key, events: ConnectionEvents = {}) =>
    Effect.suspend(() => {
      const entry: Entry = {
        id: entries.length + 1,
        key,
        events,
        phase: "Dialling",
        openedAt: undefined,
        closes: 0,
        lost: false,
        decide: undefined,
        ended: new Set(),
      }
      entries.push(entry)
      if (dials === "open") return Effect.sync(() => opened(entry))
      if (dials === "refuse") return Effect.fail(refused(entry))
      return Effect.callback<ScriptedConnection, ConnectError>((resume) => {
        entry.decide = (outcome) => {
          entry.decide = undefined
          resume(outcome === "open" ? Effect.succeed(opened(entry)) : Effect.fail(refused(entry)))
        }
        return Effect.sync(() => {
          entry.decide = undefined
          entry.phase = "Abandoned"
        })
      })
    })

  const find = (id: number) => entries[id - 1]

  return {
    connect,
    open: (key, events) => Effect.acquireRelease(connect(key, events), ({ close }) => close, { interruptible: true }),
    records: () =>
      entries.map(({ closes, id, key, lost, openedAt, phase }) => ({ closes, id, key, lost, openedAt, phase })),
    script: {
      dials: (outcome) => {
        dials = outcome
      },
      answer: (id, outcome) => find(id)?.decide?.(outcome),
      close: (id) => {
        const entry = find(id)
        if (entry?.phase !== "Open") return
        entry.phase = "Lost"
        entry.lost = true
        entry.events.onClose?.()
        end(entry)
      },
      frame: (id) => {
        const entry = find(id)
        if (entry?.phase === "Open") entry.events.onFrame?.()
      },
      onEnd: (id, listener) => {
        const entry = find(id)
        if (entry === undefined) return () => {}
        entry.ended.add(listener)
        return () => entry.ended.delete(listener)
      },
    },
  }
}
