/**
 * What becomes of turns whose owner is lost, refuses, or is no node of the cluster.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { setImmediate } from "node:timers/promises"
import { Sealing } from "../../src/cluster/sealed/Sealing.ts"
import { deriving } from "../../src/config/cluster/ClusterSecret.ts"
import { atOnce } from "../../src/wire/Steps.ts"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Answer } from "../support/Ask.ts"
import { errorIn } from "../support/Ask.ts"
import { freePort, inSession, nodeAt, placeOf, secret, sessionOwnedBy, turnAt } from "../support/ClusterNodes.ts"
import { unlessItHangs } from "../support/EventLoop.ts"
import type { SentEvent } from "../support/Events.ts"
import { eventsOf } from "../support/Events.ts"
import { relayTo, sendRaw } from "../support/NodeRelay.ts"
import { objectIn } from "../support/Parsed.ts"
import { errorIn as frameError, keyed } from "../support/SocketClient.ts"
import { connect } from "../support/TestClient.ts"

const numberOf = ({ data }: SentEvent) => objectIn(data)?.["sequence_number"]

const simulator = Simulator.layer({ script: agent({ rounds: 0 }) })

/** Two nodes; the first reaches the second through a relay, and a session that the second owns. */
const through = Effect.fnUntraced(function* () {
  const ports = yield* Effect.all([freePort, freePort])
  const relay = yield* relayTo(ports[1])
  const owner = yield* nodeAt(ports[1], [`http://127.0.0.1:${ports[0]}`])
  const entry = yield* nodeAt(ports[0], [relay.address])
  // Before the nodes stop: a turn whose connection only seems to be open would hold the owner up.
  yield* Effect.addFinalizer(() => relay.reset)
  const session = yield* sessionOwnedBy(owner, entry)
  const { turns } = yield* Simulator
  return { relay, owner, entry, session, ports, before: turns.length }
})

/** Ways in which an owner is lost, as its entry node sees it. */
const losses = {
  "whose connection is reset": (relay: Effect.Success<ReturnType<typeof relayTo>>) => relay.reset,
  "which gives no sign of life": (relay: Effect.Success<ReturnType<typeof relayTo>>) =>
    relay.silence.pipe(
      // What was on its way still arrives, and is a sign of life.
      Effect.andThen(Effect.promise(() => setImmediate())),
      Effect.andThen(Effect.repeat(TestClock.adjust("1700 millis"), { times: 2 })),
    ),
}

const isUnknown = (answer: Answer) => {
  assert.strictEqual(answer.status, 502, answer.text)
  assert.strictEqual(errorIn(answer)["code"], "turn_outcome_unknown")
  assert.strictEqual(answer.headers.get("x-should-retry"), "false")
}

for (const [what, lose] of Object.entries(losses)) {
  describe(`an owner ${what}`, () => {
    it.effect("before the answer began is told of with 502, and the turn is not sent again", () =>
      Effect.gen(function* () {
        const { failNext, turns, until } = yield* Simulator
        const { before, entry, relay, session } = yield* through()
        yield* failNext({ _tag: "Hold", at: 0 })
        const asked = yield* Effect.forkChild(turnAt(entry, { input: "hold" }, inSession(session)))
        yield* until(({ turns }) => turns.length === before + 1)
        yield* lose(relay)
        isUnknown(yield* unlessItHangs(Fiber.join(asked)))
        assert.strictEqual(turns.length, before + 1)
      }).pipe(Effect.scoped, Effect.provide(simulator)),
    )

    it.effect("in the middle of a stream is told of by one error event, the last", () =>
      Effect.gen(function* () {
        const { failNext, turns, until } = yield* Simulator
        const { before, entry, relay, session } = yield* through()
        yield* failNext({ _tag: "Hold", at: 8 })
        const answer = yield* Effect.promise(() =>
          fetch(`${entry.proxy.url}/responses`, {
            method: "POST",
            headers: { ...keyed(), "content-type": "application/json", "session-id": session },
            body: JSON.stringify({ model: "gpt-5.5", input: "hold", stream: true }),
          }),
        )
        assert.strictEqual(answer.status, 200)
        yield* until(({ turns }) => turns.length === before + 1)
        yield* lose(relay)
        const events = eventsOf(yield* Effect.promise(() => answer.text()))
        assert.deepStrictEqual(
          events.filter(({ type }) => type === "error").map(({ data }) => objectIn(data)?.["code"]),
          ["turn_outcome_unknown"],
        )
        assert.strictEqual(events.at(-1)?.type, "error")
        assert.deepStrictEqual(
          events.map(numberOf),
          events.map((_, index) => index),
        )
        assert.strictEqual(turns.length, before + 1)
      }).pipe(Effect.scoped, Effect.provide(simulator)),
    )

    it.effect("is told of on a client's socket by one error frame, and the socket goes on", () =>
      Effect.gen(function* () {
        const { failNext, until } = yield* Simulator
        const { before, entry, relay, session } = yield* through()
        const client = yield* connect(entry.proxy, { ...keyed(), "session-id": session })
        yield* failNext({ _tag: "Hold", at: 0 })
        yield* client.send({ input: "hold", store: false })
        yield* until(({ turns }) => turns.length === before + 1)
        yield* lose(relay)
        const events = yield* client.answer
        assert.deepStrictEqual(events.map(frameError), [[502, "turn_outcome_unknown", undefined]])
        const next = yield* client.turn({ input: "on", store: false })
        assert.strictEqual(next.type, "response.completed")
      }).pipe(Effect.scoped, Effect.provide(simulator)),
    )
  })
}

describe("an answer that is changed on its way", () => {
  it.effect("is not passed on: nobody knows what became of the turn", () =>
    Effect.gen(function* () {
      const { turns } = yield* Simulator
      const { before, entry, relay, session } = yield* through()
      yield* relay.alter((piece) => {
        // A head, and the end of all pieces, are no piece of the answer.
        if (piece.toString("latin1").endsWith("\r\n\r\n")) return piece
        const changed = Buffer.from(piece)
        const last = changed.length - 1 - "\r\n".length
        changed[last] = (changed[last] ?? 0) ^ 1
        return changed
      })
      const answer = yield* turnAt(entry, { input: "hello" }, inSession(session))
      isUnknown(answer)
      assert.isAtMost(turns.length, before + 1)
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )
})

describe("a node with which a turn was lost", () => {
  for (const [what, lose] of Object.entries(losses)) {
    it.effect(`is left out of the ring, though it may answer again: one ${what}`, () =>
      Effect.gen(function* () {
        const { failNext, until } = yield* Simulator
        const { before, entry, relay, session } = yield* through()
        yield* failNext({ _tag: "Hold", at: 0 })
        const asked = yield* Effect.forkChild(turnAt(entry, { input: "hold" }, inSession(session)))
        yield* until(({ turns }) => turns.length === before + 1)
        yield* lose(relay)
        isUnknown(yield* unlessItHangs(Fiber.join(asked)))
        const next = yield* turnAt(entry, { input: "next" }, inSession(session))
        assert.strictEqual(placeOf(next), entry.name)
        assert.isNull(next.headers.get("x-respool-takeover"))
      }).pipe(Effect.scoped, Effect.provide(simulator)),
    )
  }
})

describe("a client that leaves", () => {
  it.effect("cancels its turn at the owner", () =>
    Effect.gen(function* () {
      const { failNext, turns, until } = yield* Simulator
      const { before, entry, session } = yield* through()
      yield* failNext({ _tag: "Hold", at: 4 })
      const asked = yield* Effect.forkChild(turnAt(entry, { input: "hold", stream: true }, inSession(session)))
      yield* until(({ turns }) => turns.length === before + 1)
      yield* Fiber.interrupt(asked)
      yield* unlessItHangs(until(({ turns }) => turns.at(-1)?.status === "abandoned"))
      assert.strictEqual(turns.length, before + 1)
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )
})

describe("an owner that stops", () => {
  it.effect("ends the turns that it has, and takes no others, which their entry node runs", () =>
    Effect.gen(function* () {
      const { failNext, release, until } = yield* Simulator
      const { before, entry, owner, session } = yield* through()
      yield* failNext({ _tag: "Hold", at: 4 })
      const held = yield* Effect.forkChild(turnAt(entry, { input: "hold" }, inSession(session)))
      yield* until(({ turns }) => turns.length === before + 1)
      const stopped = yield* Effect.forkChild(owner.stop)
      let refused = yield* turnAt(entry, { input: "next" }, inSession(session))
      for (let again = 0; placeOf(refused) === owner.name; again++) {
        assert.isBelow(again, 1_000, "it still takes turns")
        refused = yield* turnAt(entry, { input: "next" }, inSession(session))
      }
      assert.strictEqual(placeOf(refused), entry.name)
      assert.strictEqual(refused.headers.get("x-respool-takeover"), "owner_draining")
      yield* release
      const ended = yield* Fiber.join(held)
      assert.strictEqual(ended.status, 200, ended.text)
      assert.strictEqual(placeOf(ended), owner.name)
      yield* Fiber.join(stopped)
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )
})

/** The turn of a request in another request, as a node of the cluster would send it that sends turns twice. */
const sealedAgain = (request: Buffer): Buffer => {
  const text = request.toString("latin1")
  const told = /x-respool-label: (.*)\r\n/i.exec(text)?.[1] ?? ""
  const start = text.indexOf("\r\n\r\n") + 4
  const sealing = new Sealing(deriving(secret))
  const label = sealing.open(told)
  assert.isDefined(label)
  const [sealed, sealedBody] = [start, start + label.sealed].map((at) => request.subarray(at)) as [Buffer, Buffer]
  const opened = atOnce(sealing.unseal(label, sealed.subarray(0, label.sealed), sealedBody))
  assert.isDefined(opened)
  const next = sealing.label(label.to, { sealed: opened.secret.length, body: opened.body.length })
  const parts = atOnce(sealing.seal(next.label, opened.secret, opened.body))
  return Buffer.concat([Buffer.from(text.slice(0, start).replace(told, next.text), "latin1"), ...parts])
}

describe("a request to an owner", () => {
  it.effect("is not taken a second time, nor changed, nor by a process that it was not for", () =>
    Effect.gen(function* () {
      const { turns } = yield* Simulator
      const { entry, owner, ports, relay, session } = yield* through()
      yield* turnAt(entry, { input: "once" }, inSession(session))
      const count = turns.length
      const request = relay.carried.findLast((bytes) => bytes.includes("POST /respool/turn"))
      assert.isDefined(request)
      assert.strictEqual(yield* sendRaw(ports[1], request), "409 taken_before")
      // Whether it is read or not, the number of a request that was changed is not taken anew.
      const changed = Buffer.from(request)
      changed[changed.length - 5] = (changed[changed.length - 5] ?? 0) ^ 1
      assert.strictEqual(yield* sendRaw(ports[1], changed), "409 taken_before")
      const label = request.indexOf("x-respool-label: ") + "x-respool-label: ".length
      const other = Buffer.from(request)
      other[label + 60] = (other[label + 60] ?? 0x30) === 0x31 ? 0x32 : 0x31
      assert.strictEqual(yield* sendRaw(ports[1], other), "401 owner_foreign")
      assert.strictEqual(yield* sendRaw(ports[1], sealedAgain(request)), "409 taken_before")
      yield* owner.stop
      yield* nodeAt(ports[1], [])
      assert.strictEqual(yield* sendRaw(ports[1], request), "409 owner_restarted")
      assert.strictEqual(turns.length, count)
      // Neither the client's key nor what was said is in what went over the wire.
      for (const text of ["test-key-a", "once", "gpt-5.5"]) {
        assert.isFalse(
          relay.carried.some((bytes) => bytes.includes(text)),
          text,
        )
      }
      assert.isFalse(relay.returned.some((bytes) => bytes.includes("response.completed")))
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )

  it.effect("that says that a node stops counts only from a node of the cluster", () =>
    Effect.gen(function* () {
      const { owner } = yield* through()
      const nonce = "a".repeat(22)
      const statuses = yield* Effect.forEach(["", nonce, `${nonce} ${nonce} ${owner.name}`], (told) =>
        Effect.promise(async () => {
          const headers = { "x-respool-leaving": told }
          return (await fetch(`${owner.address}/respool/hello`, { method: "POST", headers })).status
        }),
      )
      assert.deepStrictEqual(statuses, [401, 401, 401])
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )

  it.effect("of a node with another secret is not taken, and that node runs its turns itself", () =>
    Effect.gen(function* () {
      const ports = yield* Effect.all([freePort, freePort])
      const owner = yield* nodeAt(ports[1], [])
      const stranger = { clusterSecret: Redacted.make("another-secret-of-all") }
      const entry = yield* nodeAt(ports[0], [owner.address], stranger)
      for (let session = 0; session < 8; session++) {
        const [first, second] = yield* Effect.forEach([owner, entry], (node) =>
          turnAt(node, { input: "hello" }, inSession(`session-${session}`)),
        )
        assert.deepStrictEqual([first?.status, second?.status], [200, 200])
        assert.strictEqual(second === undefined ? undefined : placeOf(second), entry.name)
      }
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )
})
