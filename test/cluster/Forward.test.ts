/**
 * Turns that land on another node than the one that owns their session.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { errorIn, outputOf, way } from "../support/Ask.ts"
import type { ClusterNode } from "../support/ClusterNodes.ts"
import { cluster, freePort, inSession, nodeAt, placeOf, sessionOwnedBy, turnAt } from "../support/ClusterNodes.ts"
import type { SentEvent } from "../support/Events.ts"
import { eventsOf } from "../support/Events.ts"
import { user } from "../support/Items.ts"
import { relayTo } from "../support/NodeRelay.ts"
import { objectIn } from "../support/Parsed.ts"
import { keyed } from "../support/SocketClient.ts"
import { say, talksOf } from "../support/Talk.ts"
import { connect } from "../support/TestClient.ts"

const numberOf = ({ data }: SentEvent) => objectIn(data)?.["sequence_number"]

const simulator = Simulator.layer({ script: agent({ rounds: 0 }) })

describe("a turn on another node than its session's owner", () => {
  it.effect("runs on the owner, whatever node it comes to, and goes on there as a suffix", () =>
    Effect.gen(function* () {
      const nodes = yield* cluster(3)
      const [first, second] = nodes
      assert.isDefined(first)
      assert.isDefined(second)
      for (const owner of nodes) {
        const session = yield* sessionOwnedBy(owner, owner === first ? second : first)
        let input: ReadonlyArray<unknown> = []
        for (const [index, node] of [...nodes, ...nodes].entries()) {
          input = [...input, user(`question ${index}`)]
          const answer = yield* turnAt(node, { input }, inSession(session))
          assert.strictEqual(answer.status, 200, answer.text)
          assert.strictEqual(placeOf(answer), owner.name)
          if (index > 0) assert.deepStrictEqual(way(answer, "connection", "input"), ["reused", "suffix"])
          input = [...input, ...outputOf(answer)]
        }
      }
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("is none where a session's turns come in at one node, and the other nodes know where that is", () =>
    Effect.gen(function* () {
      const nodes = yield* cluster(3)
      const talks = talksOf(24)
      const places = function* (turn: number, shift: number) {
        for (const [index, talk] of talks.entries()) {
          const [home, entry] = [nodes[index % 3], nodes[(index + shift) % 3]]
          const answer = yield* say(`${entry?.proxy.url}`, talk, turn)
          assert.strictEqual(placeOf(answer), home?.name, `${talk.session} at ${entry?.name}`)
          assert.isNull(answer.headers.get("x-respool-takeover"))
          assert.deepStrictEqual(way(answer, "input"), [turn === 0 ? "full" : "suffix"])
        }
      }
      for (const [turn, shift] of [0, 0, 0, 1, 2, 1, 0].entries()) yield* Effect.gen(() => places(turn, shift))
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("goes on where it was when the node is gone that had kept in mind where that is", () =>
    Effect.gen(function* () {
      const [home, entry, third] = yield* cluster(3)
      assert.isDefined(home)
      assert.isDefined(entry)
      assert.isDefined(third)
      const talks = talksOf(24)
      const told = Effect.fnUntraced(function* (node: ClusterNode, turn: number) {
        for (const talk of talks) {
          const answer = yield* say(node.proxy.url, talk, turn)
          assert.strictEqual(placeOf(answer), home.name)
          if (turn > 0) assert.deepStrictEqual(way(answer, "input"), ["suffix"])
        }
      })
      yield* told(home, 0)
      yield* told(entry, 1)
      yield* third.stop
      yield* told(entry, 2)
      yield* told(home, 3)
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("without a name runs where its conversation began, and so does a text of the user", () =>
    Effect.gen(function* () {
      const nodes = yield* cluster(3)
      const places = new Set<string | null>()
      for (let conversation = 0; conversation < 8; conversation++) {
        const node = nodes[conversation % 3]
        assert.isDefined(node)
        const began = yield* turnAt(node, { input: `conversation ${conversation}` })
        places.add(placeOf(began))
        let input: ReadonlyArray<unknown> = [user(`conversation ${conversation}`), ...outputOf(began)]
        for (const node of nodes) {
          input = [...input, user("and then?")]
          const answer = yield* turnAt(node, { input })
          assert.strictEqual(placeOf(answer), placeOf(began))
          assert.deepStrictEqual(way(answer, "input"), ["suffix"])
          input = [...input, ...outputOf(answer)]
        }
      }
      assert.strictEqual(places.size, 3)
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("streams back the events as the upstream wrote them, once each and in their order", () =>
    Effect.gen(function* () {
      const nodes = yield* cluster(2)
      const [entry, owner] = nodes
      assert.isDefined(entry)
      assert.isDefined(owner)
      const session = yield* sessionOwnedBy(owner, entry)
      const input = 'Grüße 🦜 "in 300 words"'
      const [local, handed] = yield* Effect.forEach([owner, entry], (node) =>
        turnAt(node, { input, stream: true }, inSession(session)),
      )
      assert.isDefined(local)
      assert.isDefined(handed)
      const [ofLocal, ofHanded] = [eventsOf(local.text), eventsOf(handed.text)]
      assert.deepStrictEqual(
        ofHanded.map(({ type }) => type),
        ofLocal.map(({ type }) => type),
      )
      assert.isAbove(ofHanded.length, 30)
      assert.deepStrictEqual(
        ofHanded.map(numberOf),
        ofHanded.map((_, index) => index),
      )
      assert.strictEqual(placeOf(handed), owner.name)
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("of a client's socket ends there as over HTTP", () =>
    Effect.gen(function* () {
      const [entry, owner] = yield* cluster(2)
      assert.isDefined(entry)
      assert.isDefined(owner)
      const { turns } = yield* Simulator
      const session = yield* sessionOwnedBy(owner, entry)
      const before = turns.length
      const client = yield* connect(entry.proxy, { ...keyed(), "session-id": session })
      const first = yield* client.turn({ input: [user("one")], store: false })
      assert.strictEqual(first.type, "response.completed", JSON.stringify(first))
      const second = yield* client.turn({
        input: [user("two")],
        store: false,
        previous_response_id: turns.at(-1)?.responseId ?? "",
      })
      assert.strictEqual(second.type, "response.completed", JSON.stringify(second))
      assert.strictEqual(turns.length, before + 2)
      assert.strictEqual(turns.at(-1)?.connection, turns.at(-2)?.connection)
    }).pipe(Effect.scoped, Effect.provide(simulator)),
  )

  it.effect("that the upstream refuses has the upstream's own status and words", () =>
    Effect.gen(function* () {
      const { failNext } = yield* Simulator
      const [entry, owner] = yield* cluster(2)
      assert.isDefined(entry)
      assert.isDefined(owner)
      const session = yield* sessionOwnedBy(owner, entry)
      yield* failNext({ _tag: "Refuse", status: 422, code: "odd", message: "Odd." })
      const answer = yield* turnAt(entry, { input: "again" }, inSession(session))
      assert.strictEqual(answer.status, 422, answer.text)
      assert.strictEqual(errorIn(answer)["code"], "odd")
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("is run by the node that it came to once the owner has said that it stops", () =>
    Effect.gen(function* () {
      const [entry, owner] = yield* cluster(2)
      assert.isDefined(entry)
      assert.isDefined(owner)
      const session = yield* sessionOwnedBy(owner, entry)
      yield* owner.stop
      const answer = yield* turnAt(entry, { input: "are you there?" }, inSession(session))
      assert.strictEqual(answer.status, 200, answer.text)
      assert.strictEqual(placeOf(answer), entry.name)
      // It is not handed to who has said so, which costs the client nothing.
      assert.isNull(answer.headers.get("x-respool-takeover"))
    }).pipe(Effect.provide(simulator)),
  )

  it.effect("is run by the node that it came to when nobody listens at the owner's, which is then left out", () =>
    Effect.gen(function* () {
      const ports = yield* Effect.all([freePort, freePort])
      const relay = yield* relayTo(ports[1])
      const owner = yield* nodeAt(ports[1], [`http://127.0.0.1:${ports[0]}`])
      const entry = yield* nodeAt(ports[0], [relay.address])
      const session = yield* sessionOwnedBy(owner, entry)
      yield* relay.refuse
      const first = yield* turnAt(entry, { input: "are you there?" }, inSession(session))
      assert.strictEqual(first.status, 200, first.text)
      assert.strictEqual(placeOf(first), entry.name)
      assert.strictEqual(first.headers.get("x-respool-takeover"), "owner_unreachable")
      const next = yield* turnAt(entry, { input: "still?" }, inSession(session))
      assert.strictEqual(next.status, 200, next.text)
      assert.strictEqual(placeOf(next), entry.name)
      assert.isNull(next.headers.get("x-respool-takeover"))
    }).pipe(Effect.provide(simulator)),
  )
})
