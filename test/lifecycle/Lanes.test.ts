/**
 * Random schedules of turns that share connections as lanes: each hears its own events, once and in order, and nothing of
 * what happens to others; and nothing is left.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import { isTerminal } from "../../src/wire/Event.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import type { Lease } from "../../src/upstream/pool/Lease.ts"
import { open, pool } from "../support/Leasing.ts"
import type { Random } from "../support/Random.ts"
import { makeRandom } from "../support/Random.ts"
import { runs } from "../support/Runs.ts"
import type { TestSocket } from "../support/TestDialer.ts"
import { TestDialer } from "../support/TestDialer.ts"

type TestSockets = ReadonlyArray<TestSocket>

interface Turn {
  readonly lease: Lease
  readonly scope: Scope.Closeable
  readonly socket: TestSocket
  readonly session: string
  /** What its lane was sent, and what it heard. */
  readonly sent: Array<string>
  readonly heard: Array<string>
  asked: boolean
  behind: boolean
  /** Its last event was sent, so nothing more comes of it. */
  last: boolean
  lost: string | undefined
  over: boolean
}

/** A lane whose turn is gone and of which the upstream goes on to speak. */
interface Gone {
  readonly socket: TestSocket
  readonly lane: string
}

const maxWaiting = 600

const event = (type: string, lane: string | undefined, number: number) =>
  JSON.stringify({ type, number, delta: "x".repeat(number % 7), ...(lane === undefined ? {} : { stream_id: lane }) })

const inAll = (turns: ReadonlyArray<Turn>, socket: TestSocket) =>
  turns.filter((turn) => turn.socket === socket && !turn.over)

class Schedule {
  readonly turns: Array<Turn> = []
  readonly gone: Array<Gone> = []
  #number = 0
  readonly #random: Random
  readonly #sockets: TestSockets
  readonly seen = { lanes: 0, drained: 0, alone: 0 }

  constructor(random: Random, sockets: TestSockets) {
    this.#random = random
    this.#sockets = sockets
  }

  get running() {
    return this.turns.filter(({ over }) => !over)
  }

  one<A>(all: ReadonlyArray<A>): A | undefined {
    return all[this.#random(all.length)]
  }

  readonly begin = Effect.fnUntraced(function* (this: Schedule) {
    const session = this.one(["one", "two"]) ?? ""
    const before = this.#sockets.length
    const source = this.one(this.running.filter((turn) => turn.session === session))
    const recall = source === undefined || this.#random(2) === 0 ? [] : [source.lease.chain]
    const { lease, scope } = yield* open({ session, recall: () => recall })
    const socket =
      this.#sockets.length > before
        ? this.#sockets.at(-1)
        : this.turns.findLast(({ lease: { connectionId } }) => connectionId === lease.connectionId)?.socket
    assert(socket !== undefined)
    const turn: Turn = {
      lease,
      scope,
      socket,
      session,
      sent: [],
      heard: [],
      asked: false,
      behind: false,
      last: false,
      lost: undefined,
      over: false,
    }
    if (lease.source !== undefined) assert.strictEqual(lease.source, source?.lease.chain)
    if (inAll(this.turns, socket).length > 0) this.seen.lanes++
    for (const other of inAll(this.turns, socket)) {
      assert.notStrictEqual(other.lease.lane, lease.lane, "one lane, two turns")
      assert.strictEqual(other.session, session, "what is shared is a session's alone")
    }
    const used = inAll(this.turns, socket).length + this.gone.filter((gone) => gone.socket === socket).length
    assert.isBelow(used, 16, "no more than 16 run on a connection")
    assert.isAtMost(Number(lease.lane?.slice(1) ?? 1), 32, "no more than 32 names")
    this.turns.push(turn)
    lease.listen({
      onText: (text) => {
        assert.isFalse(turn.over, "nothing is heard after the end")
        assert.isFalse(turn.behind, "nothing is heard while the client is behind")
        assert.strictEqual(text, turn.sent[turn.heard.length])
        turn.heard.push(text)
        if (isTerminal((JSON.parse(text) as { readonly type: string }).type)) this.#ends(turn)
        else if (this.#random(12) === 0) this.pause(turn)
      },
      onLost: (reason) => {
        turn.lost = reason
        turn.over = true
      },
    })
  })

  #ends(turn: Turn) {
    turn.over = true
    const how = this.#random(4)
    if (how === 0) turn.lease.evict("failed")
    else if (how === 1) turn.lease.complete("none")
    else turn.lease.complete("once")
  }

  ask(turn: Turn) {
    turn.asked = true
    assert.isTrue(turn.lease.send(new TextEncoder().encode("{}")))
  }

  /** The upstream says something in the turn. */
  say(turn: Turn) {
    if (!turn.asked || turn.last) return
    turn.last = this.#random(5) === 0
    const type = turn.last ? "response.completed" : "response.output_text.delta"
    const { lane } = turn.lease
    const number = ++this.#number
    turn.sent.push(event(type, undefined, number))
    turn.socket.handlers.onText(event(type, lane, number))
  }

  pause(turn: Turn) {
    turn.behind = true
    turn.lease.pause()
  }

  resume(turn: Turn) {
    turn.behind = false
    turn.lease.resume()
  }

  readonly cancel = Effect.fnUntraced(function* (this: Schedule, turn: Turn) {
    turn.over = true
    const others = inAll(this.turns, turn.socket)
    yield* Scope.close(turn.scope, Exit.interrupt())
    for (const other of others) assert.isUndefined(other.lost, "a neighbour lives on")
    const isOpen = turn.socket.terminated === 0
    if (others.length > 0) {
      assert.isTrue(isOpen, "the connection of a neighbour stays")
      this.seen.alone++
    }
    const { lane } = turn.lease
    if (isOpen && turn.asked && !turn.last && lane !== undefined) this.gone.push({ socket: turn.socket, lane })
  })

  /** The upstream goes on with a turn that is gone. */
  drain(at: number) {
    const gone = this.gone[at]
    if (gone === undefined) return
    if (gone.socket.terminated > 0) return void this.gone.splice(at, 1)
    const last = this.#random(2) === 0
    const neighbours = inAll(this.turns, gone.socket)
    gone.socket.handlers.onText(event(last ? "response.failed" : "x.delta", gone.lane, ++this.#number))
    this.seen.drained++
    if (last) this.gone.splice(at, 1)
    for (const turn of neighbours) assert.isUndefined(turn.lost, "a gone turn harms nobody")
  }

  /** Something that concerns the whole connection. */
  breaks(socket: TestSocket, how: number) {
    const shared = inAll(this.turns, socket)
    const spoke = this.turns.some((turn) => turn.socket === socket && turn.heard.length > 0)
    // One that closes before it says anything is not dialled again for a while.
    if (how === 0 && spoke) socket.handlers.onClose(1006, "")
    else if (how === 1) socket.handlers.onText(event("response.output_text.delta", "nobody", 0))
    else if (how === 2) socket.handlers.onBinary()
    else socket.handlers.onText("x")
    assert.strictEqual(socket.terminated, 1)
    for (const turn of shared) assert.isDefined(turn.lost, "each is told")
  }

  check() {
    for (const { behind, heard, lost, over, sent } of this.turns) {
      if (!over && !behind) assert.strictEqual(heard.length, sent.length)
      if (lost === "slow_client") assert.isTrue(sent.length > heard.length)
    }
    for (const socket of this.#sockets) {
      const turns = inAll(this.turns, socket)
      assert.isAtMost(socket.terminated, 1)
      if (turns.length > 0) assert.strictEqual(socket.terminated, 0)
      // One client that is behind lets nobody else wait.
      if (socket.terminated === 0 && turns.some(({ behind }) => !behind)) assert.isFalse(socket.paused)
      if (turns.length > 0 && turns.every(({ behind }) => behind)) assert.isTrue(socket.paused)
    }
  }
}

const play = Effect.fnUntraced(function* (seed: number) {
  const random = makeRandom(seed)
  const dialer = yield* TestDialer
  const service = yield* ConnectionPool
  const schedule = new Schedule(random, dialer.sockets)
  for (let step = 0; step < 120; step++) {
    const turn = schedule.one(schedule.running)
    const what = random(40)
    if (what < 8 || turn === undefined) yield* schedule.begin()
    else if (what < 14) {
      if (!turn.asked) schedule.ask(turn)
    } else if (what < 28) schedule.say(turn)
    else if (what < 32) {
      if (turn.behind) schedule.resume(turn)
      else schedule.pause(turn)
    } else if (what < 35) yield* schedule.cancel(turn)
    else if (what < 38) schedule.drain(random(schedule.gone.length + 1))
    else if (what === 38 && random(4) === 0) schedule.breaks(turn.socket, random(4))
    else if (what === 39) {
      yield* TestClock.adjust(random(3) * 7_000)
      service.heartbeat(1)
      for (const socket of dialer.sockets) socket.handlers.onAlive()
    }
    schedule.check()
  }
  for (const turn of schedule.running) {
    if (turn.behind) schedule.resume(turn)
    if (!turn.over) yield* schedule.cancel(turn)
  }
  // What is gone is not waited for, however little the upstream says.
  yield* TestClock.adjust("10 minutes")
  assert.deepStrictEqual(service.connections(), [])
  assert.strictEqual(dialer.open(), 0)
  assert.isTrue(dialer.sockets.every(({ terminated }) => terminated === 1))
  for (const { scope } of schedule.turns) yield* Scope.close(scope, Exit.void)
  return schedule.seen
})

describe("turns that share connections", () => {
  it.effect("keep to themselves in every random schedule, and leave nothing", () =>
    Effect.gen(function* () {
      const seen = { lanes: 0, drained: 0, alone: 0 }
      const settings = { busy: "lane", maxBuffered: maxWaiting, idleTtl: 300_000 } as const
      for (let seed = 1; seed <= runs(1_000, 40); seed++) {
        const found = yield* play(seed).pipe(
          Effect.provide(pool(settings)),
          Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}`, { cause }))),
        )
        for (const key of ["lanes", "drained", "alone"] as const) seen[key] += found[key]
      }
      for (const count of Object.values(seen)) assert.isAbove(count, 50)
    }),
  )
})
