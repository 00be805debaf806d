/**
 * Remembers which scope each id was made for, so long and so many that no scope can push out another's.
 *
 * Each scope keeps its own newest ids. Where all of them together are too many, whoever holds most gives way, so a scope
 * with fewer than its share loses nothing, whatever the others do. An id belongs to the first scope it was recorded for
 * until it is forgotten: an upstream that repeats it in another's answer does not change that.
 */
import type { Clock } from "effect"
import { Duration } from "effect"

export interface LedgerOptions {
  /** Of one scope. Default 100,000. */
  readonly maxEntries?: number
  /** Of all scopes together. Default 1,000,000. */
  readonly maxTotal?: number
  /** Default 30 days, for which the API keeps responses. */
  readonly maxAge?: Duration.Input
}

export interface Row {
  readonly scope: string
  readonly id: string
  /** When an answer held it last, to the hour, in milliseconds since 1970. */
  readonly at: number
}

interface Held {
  readonly of: Queue
  readonly id: string
  at: number
  /** `at`, as it was when the id was put into the queue. */
  queuedAt: number
}

/** The ids of one scope, oldest first. What was made again since it came in goes to the end when its turn has come. */
class Queue {
  readonly scope: string
  #ids: Array<Held | undefined> = []
  #first = 0

  constructor(scope: string) {
    this.scope = scope
  }

  get size() {
    return this.#ids.length - this.#first
  }

  push(held: Held) {
    held.queuedAt = held.at
    this.#ids.push(held)
  }

  oldest(): Held | undefined {
    for (;;) {
      const held = this.#ids[this.#first]
      if (held === undefined || held.queuedAt === held.at) return held
      this.shift()
      this.push(held)
    }
  }

  shift() {
    this.#ids[this.#first++] = undefined
    if (this.#first < 1024 || this.#first * 2 < this.#ids.length) return
    this.#ids = this.#ids.slice(this.#first)
    this.#first = 0
  }
}

/** An answer repeats an id in several events. What is younger than this is not made young again. */
const refreshAfter = Duration.toMillis("1 hour")

export class Ledger {
  readonly maxEntries: number
  /** Whether an id was recorded that is not made of letters, digits, `_` and `-` only. */
  hasOdd = false
  readonly #clock: Clock.Clock
  readonly #maxTotal: number
  readonly #maxAge: number
  readonly #ids = new Map<string, Held>()
  readonly #queues = new Map<string, Queue>()
  #walk = this.#queues.values()

  constructor(clock: Clock.Clock, options: LedgerOptions) {
    this.#clock = clock
    this.maxEntries = options.maxEntries ?? 100_000
    this.#maxTotal = options.maxTotal ?? 1_000_000
    this.#maxAge = Duration.toMillis(options.maxAge ?? "30 days")
  }

  now(): number {
    return this.#clock.currentTimeMillisUnsafe()
  }

  /** Records an id; false if there is nothing new in that, or it belongs to another scope. */
  add({ at, id, scope }: Row): boolean {
    const held = this.#held(id)
    if (held !== undefined) {
      if (held.of.scope !== scope || at - held.at < refreshAfter) return false
      held.at = at
      return true
    }
    const forgotten = this.#ids.get(id)
    // Its place in the queue is left to go by itself.
    if (forgotten !== undefined) this.#ids.delete(id)
    const of = this.#queues.get(scope) ?? new Queue(scope)
    this.#queues.set(scope, of)
    const made: Held = { of, id, at, queuedAt: at }
    this.#ids.set(id, made)
    of.push(made)
    if (!/^[\w-]*$/.test(id)) this.hasOdd = true
    this.#forget(of)
    this.#forgetAnother()
    while (this.#ids.size > this.#maxTotal) this.#drop(this.#largest())
    return true
  }

  ownerOf(id: string): string | undefined {
    return this.#held(id)?.of.scope
  }

  isOld(at: number): boolean {
    return this.now() - at >= this.#maxAge
  }

  #held(id: string): Held | undefined {
    const held = this.#ids.get(id)
    return held === undefined || this.isOld(held.at) ? undefined : held
  }

  #forget(queue: Queue) {
    for (let oldest = queue.oldest(); oldest !== undefined; oldest = queue.oldest()) {
      if (queue.size <= this.maxEntries && !this.isOld(oldest.at)) return
      this.#drop(queue)
    }
    this.#queues.delete(queue.scope)
  }

  #drop(queue: Queue) {
    const oldest = queue.oldest()
    if (oldest === undefined) return
    queue.shift()
    if (this.#ids.get(oldest.id) === oldest) this.#ids.delete(oldest.id)
  }

  /** A scope that asks for nothing any more keeps nothing that is too old: with each id, one other scope is looked at. */
  #forgetAnother() {
    const next = this.#walk.next()
    if (next.done === true) this.#walk = this.#queues.values()
    else this.#forget(next.value)
  }

  #largest(): Queue {
    let largest = new Queue("")
    for (const queue of this.#queues.values()) if (queue.size > largest.size) largest = queue
    return largest
  }
}
