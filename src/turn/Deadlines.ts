/**
 * Calls back when a time has come. One fiber sleeps for all deadlines, so that a time-out of a turn costs no fiber.
 *
 * The sleeping fiber is not woken to cancel a deadline, nor to set one that is not the nearest. A cancelled deadline is
 * never called. The fiber ends within a second of the last deadline, and none outlives the scope of `make`.
 *
 * By hand, because `Effect.timeout` takes a fiber for each wait: six of them made a turn cost 757 µs, where one sleeper
 * for all made it 575 µs (test/bench/README.md), and a single wait takes 7.6 times as long. A bare `setTimeout` takes
 * half as long as a deadline, but does not follow Effect's `Clock`, which the tests own (Bun 1.4.5).
 */
import type { Scope } from "effect"
import { Clock, Duration, Effect, FiberHandle } from "effect"
import { monotonicMillisOf } from "./Elapsed.ts"

export interface Deadline {
  /** May be called more than once, and after the deadline. */
  readonly cancel: () => void
}

export interface Deadlines {
  /** Calls `due` once, after so many milliseconds, whatever the wall clock does. */
  readonly after: (millis: number, due: () => void) => Deadline
}

interface Entry {
  readonly at: number
  /** Undefined: cancelled. The callback is let go at once, though the entry may stay in the heap until its time. */
  due: (() => void) | undefined
}

/** The longest sleep, in milliseconds, after which the fiber sees that no deadline is left. */
const tick = 1_000

/** So many cancelled entries stay in the heap before it is made anew without them. */
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
    const now = monotonicMillisOf(clock)
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

  /** Sleeps and calls what is due, until no deadline is left. */
  const watch: Effect.Effect<void> = Effect.suspend(() => {
    const { first } = entries
    if (first === undefined) {
      wakesAt = Infinity
      return Effect.void
    }
    const now = monotonicMillisOf(clock)
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
      const entry: Entry = { at: monotonicMillisOf(clock) + millis, due }
      entries.add(entry)
      if (!ringing && entry.at < wakesAt) {
        wakesAt = entry.at
        sleep(watch)
      }
      return { cancel: () => cancel(entry) }
    },
  }
})

/** A binary heap of entries, the earliest first. */
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
