/**
 * Keeps the record of ids over a restart, in segments that are only ever written under a new name: a crash in the
 * middle of a write loses at most the last second, and a segment that cannot be read is skipped with a warning.
 *
 * A segment holds ids of one scope, so that those of one scope are dropped without another's. One process uses a store
 * at a time: it does not see the rows of another process before it starts again. Segments are by hand, because one file
 * for each id takes 11 times as long to write (2,000 ids, Bun 1.4.5).
 */
import { Effect, Latch, Schema } from "effect"
import { KeyValueStore } from "effect/persistence"
import { randomBytes } from "node:crypto"
import type { Ledger, Row } from "./Ledger.ts"

const segmentPrefix = "ownership-segment-"
const segmentRows = 256

const Segment = Schema.fromJsonString(
  Schema.Array(Schema.Struct({ scope: Schema.String, id: Schema.String, at: Schema.Finite })),
)

interface StoredSegment {
  readonly key: string
  readonly rows: ReadonlyArray<Row>
}

/** What is kept in memory of a segment that is full, and never written again. */
interface Closed {
  readonly key: string
  readonly count: number
  readonly newestAt: number
}

const closed = ({ key, rows }: StoredSegment): Closed => ({
  key,
  count: rows.length,
  newestAt: rows.reduce((latest, row) => Math.max(latest, row.at), 0),
})

/** The segments of one scope, oldest first, and what is not written yet. */
interface OfScope {
  readonly full: Array<Closed>
  tail: StoredSegment | undefined
  pending: Array<Row>
}

/** Reads all segments, oldest first. One that cannot be read is left where it is, for the operator to look at. */
const readSegments = Effect.fnUntraced(function* (store: KeyValueStore.KeyValueStore) {
  const keys = (yield* store.keys).filter((key) => key.startsWith(segmentPrefix)).sort()
  const segments = yield* Effect.forEach(
    keys,
    (key) =>
      store.get(key).pipe(
        Effect.flatMap((text) => Schema.decodeUnknownEffect(Segment)(text)),
        Effect.map((rows): StoredSegment => ({ key, rows })),
        Effect.catch(() =>
          Effect.as(Effect.logWarning(`ownership record ${key} cannot be read; its rows are forgotten`), undefined),
        ),
      ),
    { concurrency: 8 },
  )
  const last = Number.parseInt(keys.at(-1)?.slice(segmentPrefix.length) ?? "0", 10)
  return { segments: segments.filter((segment) => segment !== undefined), last: Number.isNaN(last) ? 0 : last }
})

/** Fills the ledger from the store, and gives what is told of each further row. Writes once a second and at the end. */
export const keepRows = Effect.fnUntraced(function* (ledger: Ledger) {
  const store = yield* KeyValueStore.KeyValueStore
  const loaded = yield* readSegments(store)
  // After the clock was set back, rows of the future would never age, so they count as made now.
  const now = ledger.now()
  const rows = loaded.segments.flatMap((segment) => segment.rows)
  for (const row of rows.sort((a, b) => a.at - b.at)) ledger.add({ ...row, at: Math.min(row.at, now) })

  const scopes = new Map<string, OfScope>()
  const ofScope = (scope: string): OfScope => {
    const known = scopes.get(scope)
    if (known !== undefined) return known
    const made: OfScope = { full: [], tail: undefined, pending: [] }
    scopes.set(scope, made)
    return made
  }
  const dirty = yield* Latch.make(false)
  const changed = (row: Row) => {
    ofScope(row.scope).pending.push(row)
    dirty.openUnsafe()
  }

  // Segments of several scopes are those of an older version. They are written anew, and go once that is done.
  const mixed: Array<string> = []
  for (const segment of loaded.segments) {
    const of = ofScope(segment.rows[0]?.scope ?? "")
    if (new Set(segment.rows.map(({ scope }) => scope)).size > 1) {
      mixed.push(segment.key)
      for (const row of segment.rows) if (ledger.ownerOf(row.id) === row.scope) changed(row)
    } else if (segment.rows.length < segmentRows) {
      if (of.tail !== undefined) of.full.push(closed(of.tail))
      of.tail = segment
    } else of.full.push(closed(segment))
  }

  // Another process may still write its last rows while this one starts, so each has names that the other never uses.
  const instance = randomBytes(4).toString("hex")
  let number = loaded.last

  const remove = (key: string) =>
    store.remove(key).pipe(Effect.catch((error) => Effect.logWarning(`ownership record ${key}: ${error.message}`)))

  const writeTail = Effect.fnUntraced(function* (of: OfScope) {
    const room = segmentRows - (of.tail?.rows.length ?? 0)
    const written = of.pending.slice(0, room)
    const next: StoredSegment = {
      key: `${segmentPrefix}${String(number + 1).padStart(12, "0")}-${instance}`,
      rows: [...(of.tail?.rows ?? []), ...written],
    }
    yield* store.set(next.key, yield* Schema.encodeEffect(Segment)(next.rows).pipe(Effect.orDie))
    number += 1
    of.pending = of.pending.slice(written.length)
    const replaced = of.tail
    of.tail = next.rows.length < segmentRows ? next : undefined
    if (of.tail === undefined) of.full.push(closed(next))
    // Removed only now: a process that starts in between reads some rows twice, which is harmless.
    if (replaced !== undefined) yield* remove(replaced.key)
  })

  const dropOldest = Effect.fnUntraced(function* ({ full }: OfScope) {
    let kept = full.reduce((sum, { count }) => sum + count, 0)
    while (full[0] !== undefined) {
      const { key, count, newestAt } = full[0]
      if (kept - count < ledger.maxEntries && !ledger.isOld(newestAt)) return
      kept -= count
      full.shift()
      yield* remove(key)
    }
  })

  const dropWholly = Effect.fnUntraced(function* (scope: string, { full, pending, tail }: OfScope) {
    if (full.length > 0 || pending.length > 0) return
    if (tail !== undefined && !ledger.isOld(closed(tail).newestAt)) return
    scopes.delete(scope)
    if (tail !== undefined) yield* remove(tail.key)
  })

  const flush = Effect.gen(function* () {
    for (const of of scopes.values()) while (of.pending.length > 0) yield* writeTail(of)
    for (const key of mixed.splice(0)) yield* remove(key)
    for (const [scope, of] of scopes) {
      yield* dropOldest(of)
      yield* dropWholly(scope, of)
    }
  }).pipe(
    Effect.catch((error) => {
      // While the store stays broken, no more rows wait than would be kept anyway.
      for (const of of scopes.values()) of.pending = of.pending.slice(-ledger.maxEntries)
      dirty.openUnsafe()
      return Effect.logWarning(`ownership records cannot be kept, will try again: ${error.message}`)
    }),
    // An interrupted write would leave half a segment.
    Effect.uninterruptible,
  )

  // Registered before the fiber is forked, so it runs after the fiber has ended, and the two never write at once.
  yield* Effect.addFinalizer(() => flush)
  yield* dirty.await.pipe(
    Effect.andThen(Effect.sleep("1 second")),
    Effect.andThen(dirty.close),
    Effect.andThen(flush),
    Effect.forever,
    Effect.forkScoped,
  )
  return changed
})
