/**
 * Remembers the owner of each id of a shared upstream account, which is a scope, and refuses it to every other scope.
 *
 * Where many tenants share one upstream account, an id gives access to a tenant's conversation. A request may continue
 * and fetch (`previous_response_id`, `conversation`, item references) only ids that were recorded for its scope. Any
 * other id in it is refused only when it was recorded for another scope, since a client may replay ids that it made
 * itself or that were forgotten here. An id of another scope and an id that does not exist get the same answer: the
 * API's 404 (docs/operate.md, Who is asking).
 *
 * An id belongs to the first scope it was recorded for until it is forgotten, so an upstream that repeats an id in
 * another scope's answer does not change its owner. Rows are forgotten by age and, oldest first, by count. They are
 * kept in a `KeyValueStore` in segments that are only ever written under a new name, so a crash in the middle of a
 * write loses at most the last second; a segment that cannot be read is skipped with a warning. One process uses a
 * store at a time: it does not see the rows of another process before it starts again.
 * Segments are by hand, because one file for each id takes 11 times as long to write (2,000 ids, Bun 1.4.5).
 */
import { Clock, Context, Duration, Effect, Latch, Layer, Schema } from "effect"
import { KeyValueStore } from "effect/persistence"
import { randomBytes } from "node:crypto"
import { ApiError, shortened } from "../ApiError.ts"
import type { IdAt } from "./OwnedIds.ts"
import { referencedIds } from "./OwnedIds.ts"

export interface OwnershipOptions {
  /** Default 100,000, of all scopes together. */
  readonly maxEntries?: number
  /** Default 30 days, for which the API keeps responses. */
  readonly maxAge?: Duration.Input
}

interface Row {
  readonly scope: string
  readonly id: string
  /** Milliseconds since 1970. */
  readonly at: number
}

const segmentPrefix = "ownership-segment-"
const segmentRows = 256

const Segment = Schema.fromJsonString(
  Schema.Array(Schema.Struct({ scope: Schema.String, id: Schema.String, at: Schema.Finite })),
)

const notFound = (what: string, { id, param }: { readonly id: string; readonly param: string | null }, code?: string) =>
  new ApiError({
    status: 404,
    message: `${what} with id '${shortened(id)}' not found.`,
    type: "invalid_request_error",
    code: code ?? null,
    param,
  })

const refused = (found: IdAt): ApiError => {
  switch (found.param) {
    case "previous_response_id":
      return notFound("Previous response", found, "previous_response_not_found")
    case "conversation":
      return notFound("Conversation", found)
    case "response_id":
      return notFound("Response", found)
    case "tools":
      return notFound("Container", found)
    default:
      return notFound("Item", found)
  }
}

/** The rows by id, in the order of their age, oldest first. */
class Ledger {
  readonly rows = new Map<string, Row>()
  readonly clock: Clock.Clock
  readonly maxEntries: number
  readonly maxAge: number
  /**
   * Goes once through the rows as they are forgotten. To ask the map for its first row each time would step over all
   * rows that were deleted before it: 100 µs and more per record in a full map on Bun 1.4.5, instead of about 5.
   */
  private walk = this.rows.values()
  private oldest: Row | undefined

  constructor(clock: Clock.Clock, options: OwnershipOptions) {
    this.clock = clock
    this.maxEntries = options.maxEntries ?? 100_000
    this.maxAge = Duration.toMillis(options.maxAge ?? "30 days")
  }

  /** Records a row; false if the id belongs to another scope. */
  add(row: Row): boolean {
    const owner = this.ownerOf(row.id)
    if (owner !== undefined && owner !== row.scope) return false
    this.rows.delete(row.id)
    this.rows.set(row.id, row)
    this.forget()
    return true
  }

  forget(): void {
    for (;;) {
      if (this.oldest === undefined || this.rows.get(this.oldest.id) !== this.oldest) {
        this.oldest = this.nextRow()
        if (this.oldest === undefined) return
      }
      if (this.rows.size <= this.maxEntries && !this.isOld(this.oldest.at)) return
      this.rows.delete(this.oldest.id)
    }
  }

  nextRow(): Row | undefined {
    const next = this.walk.next()
    if (next.done !== true) return next.value
    // An iterator that reached the end does not see rows that are added afterwards.
    this.walk = this.rows.values()
    return this.walk.next().value
  }

  ownerOf(id: string): string | undefined {
    const row = this.rows.get(id)
    return row === undefined || this.isOld(row.at) ? undefined : row.scope
  }

  isOld(at: number): boolean {
    return this.clock.currentTimeMillisUnsafe() - at >= this.maxAge
  }
}

const serve = (ledger: Ledger, changed: (row: Row) => void): Ownership["Service"] => {
  const owns = (scope: string, id: string) => ledger.ownerOf(id) === scope
  const ownedByAnother = (scope: string, id: string) => {
    const owner = ledger.ownerOf(id)
    return owner !== undefined && owner !== scope
  }
  return Ownership.of({
    owns,
    ownedByAnother,
    record: (scope, ids) => {
      const at = ledger.clock.currentTimeMillisUnsafe()
      for (const id of ids) {
        const row = { scope, id, at }
        if (ledger.add(row)) changed(row)
      }
    },
    check: (scope, request): Effect.Effect<void, ApiError> => {
      const { references, mentions } = referencedIds(request)
      const found =
        references.find(({ id }) => !owns(scope, id)) ?? mentions.find(({ id }) => ownedByAnother(scope, id))
      return found === undefined ? Effect.void : Effect.fail(refused(found))
    },
    checkResponseId: (scope, id) =>
      owns(scope, id) ? Effect.void : Effect.fail(notFound("Response", { id, param: null })),
  })
}

interface StoredSegment {
  readonly key: string
  readonly rows: ReadonlyArray<Row>
}

/** What is kept in memory of a segment that is full, and never written again. */
const closed = ({ key, rows }: StoredSegment) => ({
  key,
  count: rows.length,
  newestAt: rows.reduce((latest, row) => Math.max(latest, row.at), 0),
})

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

const makeStored = Effect.fnUntraced(function* (options: OwnershipOptions) {
  const store = yield* KeyValueStore.KeyValueStore
  const ledger = new Ledger(yield* Clock.Clock, options)
  const loaded = yield* readSegments(store)
  // After the clock was set back, rows of the future would never age, so they count as made now.
  const now = ledger.clock.currentTimeMillisUnsafe()
  const rows = loaded.segments.flatMap((segment) => segment.rows)
  for (const row of rows.sort((a, b) => a.at - b.at)) ledger.add({ ...row, at: Math.min(row.at, now) })

  // Another process may still write its last rows while this one starts, so each has names that the other never uses.
  const instance = randomBytes(4).toString("hex")
  let number = loaded.last
  const newest = loaded.segments.at(-1)
  let tail = newest !== undefined && newest.rows.length < segmentRows ? newest : undefined
  const full = loaded.segments.filter((segment) => segment !== tail).map(closed)
  let pending: Array<Row> = []
  const dirty = yield* Latch.make(false)

  const remove = (key: string) =>
    store.remove(key).pipe(Effect.catch((error) => Effect.logWarning(`ownership record ${key}: ${error.message}`)))

  const writeTail = Effect.fnUntraced(function* () {
    const room = segmentRows - (tail?.rows.length ?? 0)
    const written = pending.slice(0, room)
    const next: StoredSegment = {
      key: `${segmentPrefix}${String(number + 1).padStart(12, "0")}-${instance}`,
      rows: [...(tail?.rows ?? []), ...written],
    }
    yield* store.set(next.key, yield* Schema.encodeEffect(Segment)(next.rows).pipe(Effect.orDie))
    number += 1
    pending = pending.slice(written.length)
    const replaced = tail
    tail = next.rows.length < segmentRows ? next : undefined
    if (tail === undefined) full.push(closed(next))
    // Removed only now: a process that starts in between reads some rows twice, which is harmless.
    if (replaced !== undefined) yield* remove(replaced.key)
  })

  const dropOldest = Effect.fnUntraced(function* () {
    let kept = full.reduce((sum, { count }) => sum + count, 0)
    while (full[0] !== undefined) {
      const { key, count, newestAt } = full[0]
      if (kept - count < ledger.maxEntries && !ledger.isOld(newestAt)) return
      kept -= count
      full.shift()
      yield* remove(key)
    }
  })

  const flush = Effect.gen(function* () {
    while (pending.length > 0) yield* writeTail()
    yield* dropOldest()
  }).pipe(
    Effect.catch((error) => {
      // While the store stays broken, no more rows wait than would be kept anyway.
      pending = pending.slice(-ledger.maxEntries)
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
  return serve(ledger, (row) => {
    pending.push(row)
    dirty.openUnsafe()
  })
})

/** Its checks are effects, so that a database can stand behind them. */
export class Ownership extends Context.Service<
  Ownership,
  {
    /** Records ids that an answer to this scope made (`idsOf`). Synchronous: done before an event goes out. */
    readonly record: (scope: string, ids: Iterable<string>) => void
    readonly owns: (scope: string, id: string) => boolean
    readonly ownedByAnother: (scope: string, id: string) => boolean
    /** Fails with the answer for a request (as `referencedIds` takes it) that uses an id it must not use. */
    readonly check: (scope: string, request: unknown) => Effect.Effect<void, ApiError>
    /** Does the same for the id of a response in a path. */
    readonly checkResponseId: (scope: string, id: string) => Effect.Effect<void, ApiError>
  }
>()("respool/downstream/Ownership") {
  /** Keeps rows over a restart: written once a second and at the layer's end. Fails if the store cannot be listed. */
  static readonly layer = (
    options: OwnershipOptions = {},
  ): Layer.Layer<Ownership, KeyValueStore.KeyValueStoreError, KeyValueStore.KeyValueStore> =>
    Layer.effect(Ownership, makeStored(options))

  /** Keeps rows in memory only. */
  static readonly layerMemory = (options: OwnershipOptions = {}): Layer.Layer<Ownership> =>
    Layer.effect(
      Ownership,
      Effect.map(Clock.Clock, (clock) => serve(new Ledger(clock, options), () => {})),
    )

  /** Records nothing and allows everything: every caller has a separate upstream account. */
  static readonly layerOff: Layer.Layer<Ownership> = Layer.succeed(Ownership, {
    record: () => {},
    owns: () => true,
    ownedByAnother: () => false,
    check: () => Effect.void,
    checkResponseId: () => Effect.void,
  })
}
