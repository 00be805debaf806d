/**
 * Finds the nodes by a table in Postgres, in which each says every two seconds that it is there.
 *
 * A row holds an address and a number that its node counts up. Who reads it takes a node to be there as long as its number
 * moves, by the reader's own monotonic clock, so no two clocks are ever compared. A node that stops takes its row out.
 * Without the database the nodes that were known last hold: whether they live is found out by asking them.
 *
 * By rows of ours, and not by `effect/cluster`'s runner storage: that drops a runner that died after 35 seconds by
 * the database's clock, holds one reserved connection for locks that nothing here needs, since the owner of a session is
 * computed, and waits where that connection hangs. Over Bun's own client, so that no package is loaded for it.
 */
import { Clock, Duration, Effect, Layer, Redacted } from "effect"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import { Membership } from "./Membership.ts"

const every = Duration.seconds(2)

/** A query that takes longer is given up, with its connection. */
const within = Duration.seconds(2)

/** A node whose number has not moved for so long is not there any more, in milliseconds. */
const goneAfter = 15_000

/** After so long its row is taken out, in milliseconds. */
const removedAfter = 600_000

interface Seen {
  readonly beats: string
  readonly since: number
}

/** What is asked of the database; each fails where it does not answer. Replaced in tests. */
export interface NodeTable {
  /** Makes the table where it is missing, counts this node's number up, and tells every row. */
  readonly beat: (address: string) => Promise<ReadonlyArray<{ readonly address: string; readonly beats: string }>>
  readonly remove: (address: string) => Promise<void>
  /** Ends what hangs; the next call connects anew. */
  readonly reset: () => void
  readonly close: () => Promise<void>
}

const tableIn = (url: string): NodeTable => {
  const connect = () => new Bun.SQL(url, { max: 1, connectionTimeout: 2, idleTimeout: 0 })
  let sql = connect()
  let isMade = false
  return {
    beat: async (address) => {
      if (!isMade) {
        await sql`CREATE TABLE IF NOT EXISTS respool_nodes (address text PRIMARY KEY, beats bigint NOT NULL)`
        isMade = true
      }
      await sql`INSERT INTO respool_nodes (address, beats) VALUES (${address}, 1) ON CONFLICT (address) DO UPDATE SET beats = respool_nodes.beats + 1`
      const rows: ReadonlyArray<{ address: string; beats: unknown }> =
        await sql`SELECT address, beats FROM respool_nodes`
      return rows.map((row) => ({ address: row.address, beats: String(row.beats) }))
    },
    remove: async (address) => {
      await sql`DELETE FROM respool_nodes WHERE address = ${address}`
    },
    reset: () => {
      void sql.close({ timeout: 0 }).catch(() => {})
      sql = connect()
      // The database may be another one now, or have been restored.
      isMade = false
    },
    close: () => sql.close({ timeout: 0 }),
  }
}

/** The addresses of all rows, for who only looks. Fails where the database does not answer. */
export const tableOf = async (url: Redacted.Redacted<string>): Promise<ReadonlyArray<string>> => {
  const sql = new Bun.SQL(Redacted.value(url), { max: 1, connectionTimeout: 2 })
  try {
    const rows: ReadonlyArray<{ address: string }> = await sql`SELECT address FROM respool_nodes`
    return rows.map(({ address }) => address)
  } finally {
    await sql.close({ timeout: 0 })
  }
}

/** `own`: this node's address. `stops` succeeds when it begins to stop. */
export const layerTable = (own: string, table: NodeTable, stops: Effect.Effect<void>): Layer.Layer<Membership> =>
  Layer.effect(
    Membership,
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      const now = () => monotonicMillisOf(clock)
      const seen = new Map<string, Seen>()
      let addresses: ReadonlyArray<string> = []
      let away = false
      let stopping = false

      const asked = <A>(ask: () => Promise<A>) =>
        Effect.timeoutOption(Effect.option(Effect.tryPromise(ask)), within).pipe(
          Effect.map((answer) => (answer._tag === "Some" && answer.value._tag === "Some" ? answer.value : undefined)),
        )

      const note = (rows: ReadonlyArray<{ readonly address: string; readonly beats: string }>) => {
        const at = now()
        const there = new Set(rows.map(({ address }) => address))
        for (const address of seen.keys()) if (!there.has(address)) seen.delete(address)
        for (const { address, beats } of rows) {
          if (seen.get(address)?.beats !== beats) seen.set(address, { beats, since: at })
        }
        addresses = [...seen].filter(([, { since }]) => at - since < goneAfter).map(([address]) => address)
        return [...seen].filter(([, { since }]) => at - since >= removedAfter).map(([address]) => address)
      }

      const beat = Effect.gen(function* () {
        if (stopping) return
        const rows = yield* asked(() => table.beat(own))
        if (rows === undefined) {
          table.reset()
          if (away) return
          away = true
          return yield* Effect.logWarning("the cluster's database does not answer; the nodes known last hold")
        }
        if (away) {
          yield* Effect.logInfo("the cluster's database answers again")
          // The others may find that out later than this node.
          for (const [address, { beats }] of seen) seen.set(address, { beats, since: now() })
        }
        away = false
        for (const address of note(rows.value)) yield* asked(() => table.remove(address))
      })

      const leave = Effect.suspend(() => {
        if (stopping) return Effect.void
        stopping = true
        return Effect.asVoid(asked(() => table.remove(own)))
      })

      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          leave,
          Effect.promise(() => table.close().catch(() => {})),
        ),
      )
      yield* beat
      yield* beat.pipe(Effect.delay(every), Effect.forever, Effect.forkScoped)
      yield* stops.pipe(Effect.andThen(leave), Effect.forkScoped)
      return Membership.of({ addresses: () => addresses })
    }),
  )

export const layerPostgres = (own: string, url: Redacted.Redacted<string>, stops: Effect.Effect<void>) =>
  Layer.suspend(() => layerTable(own, tableIn(Redacted.value(url)), stops))
