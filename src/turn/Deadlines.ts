/**
 * Calls back when a time has come; one fiber sleeps for all that wait, so that a turn's time-outs cost neither a fiber
 * nor a timer of the platform.
 *
 * Nothing is woken to set a deadline that is not the nearest, nor to cancel one. What is cancelled is never called; the
 * fiber ends within a second of the last one, and no deadline outlives the scope in which they were made.
 */
import type { Scope } from "effect"
import { Clock, Duration, Effect, FiberHandle } from "effect"

export interface Deadline {
  /** May be called more than once, and after the deadline. */
  readonly cancel: () => void
}

export interface Deadlines {
  /** Calls `due` once, after so many milliseconds of the clock. */
  readonly after: (millis: number, due: () => void) => Deadline
}

interface Entry {
  readonly at: number
  /** Undefined: cancelled. Whatever it held on to is let go at once, though the entry stays until its time. */
  due: (() => void) | undefined
}

/** The longest sleep, in milliseconds: so soon it is seen that nobody waits any more. */
const tick = 1_000

/** So many cancelled entries are left where they are. */
const keepCancelled = 1024

export const make: Effect.Effect<Deadlines, never, Scope.Scope> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const sleeper = yield* FiberHandle.make<void>()
  const sleep = yield* FiberHandle.runtime(sleeper)<never>()
  let entries = new Heap()
  let cancelled = 0
  let wakesAt = Infinity
  let ringing = false

  const ring = () => {
    ringing = true
    const now = clock.currentTimeMillisUnsafe()
    const defects: Array<unknown> = []
    for (;;) {
      const { first } = entries
      if (first === undefined || (first.due !== undefined && first.at > now)) break
      entries.removeFirst()
      const { due } = first
      first.due = undefined
      try {
        if (due === undefined) cancelled--
        else due()
      } catch (cause) {
        defects.push(cause)
      }
    }
    ringing = false
    return defects
  }

  /** Ends when nothing is left to wait for. */
  const watch: Effect.Effect<void> = Effect.suspend(() => {
    const { first } = entries
    if (first === undefined) {
      wakesAt = Infinity
      return Effect.void
    }
    const now = clock.currentTimeMillisUnsafe()
    const nap = Math.min(tick, Math.max(0, first.at - now))
    wakesAt = now + nap
    return clock
      .sleep(Duration.millis(nap))
      .pipe(
        Effect.andThen(
          Effect.suspend(() => Effect.forEach(ring(), (cause) => Effect.logError("a time-out failed", cause))),
        ),
        Effect.andThen(watch),
      )
  })

  const cancel = (entry: Entry) => {
    if (entry.due === undefined) return
    entry.due = undefined
    if (++cancelled <= keepCancelled || cancelled * 2 < entries.size) return
    entries = entries.without((entry) => entry.due === undefined)
    cancelled = 0
  }

  return {
    after: (millis, due) => {
      const entry: Entry = { at: clock.currentTimeMillisUnsafe() + millis, due }
      entries.add(entry)
      if (!ringing && entry.at < wakesAt) {
        wakesAt = entry.at
        sleep(watch)
      }
      return { cancel: () => cancel(entry) }
    },
  }
})

/** A binary heap by time. */
class Heap {
  #entries: Array<Entry> = []

  get size() {
    return this.#entries.length
  }

  get first(): Entry | undefined {
    return this.#entries[0]
  }

  add(entry: Entry) {
    const entries = this.#entries
    let at = entries.length
    for (let above = (at - 1) >> 1; at > 0; at = above, above = (at - 1) >> 1) {
      const parent = entries[above]
      if (parent === undefined || parent.at <= entry.at) break
      entries[at] = parent
    }
    entries[at] = entry
  }

  removeFirst() {
    const entries = this.#entries
    const last = entries.pop()
    if (last === undefined || entries.length === 0) return
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      const right = left + 1
      const below = (entries[right]?.at ?? Infinity) < (entries[left]?.at ?? Infinity) ? right : left
      const child = entries[below]
      if (child === undefined || child.at >= last.at) break
      entries[at] = child
      at = below
    }
    entries[at] = last
  }

  without(isGone: (entry: Entry) => boolean): Heap {
    const heap = new Heap()
    // A sorted list is a heap.
    heap.#entries = this.#entries.filter((entry) => !isGone(entry)).sort((a, b) => a.at - b.at)
    return heap
  }
}
