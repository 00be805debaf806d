/**
 * Tenants of a cluster: what one node made for a tenant is that tenant's on all of them, and nobody else's.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Redacted } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { ask } from "../support/Ask.ts"
import type { ClusterNode } from "../support/ClusterNodes.ts"
import { freePort, inSession, nodeAt, placeOf, sessionOwnedBy, turnAt } from "../support/ClusterNodes.ts"
import { scrapedAt, sum } from "../support/Exposition.ts"
import { user } from "../support/Items.ts"
import { frame } from "../support/LiveFrames.ts"
import { relayTo } from "../support/NodeRelay.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { everyKind, madeBy, makeTenancy, upstreamKey } from "../support/Tenancy.ts"

/** A node with the same keys as others, and a record of ids in a folder of its own. */
const tenantAt = Effect.fnUntraced(function* (keys: string, port: number, reaches: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-node-" })
  const keysFile = `${folder}/respool.keys.json`
  yield* fs.copyFile(keys, keysFile)
  return yield* nodeAt(port, reaches, { auth: "keys", keysFile, upstreamApiKey: Redacted.make(upstreamKey) })
}, Effect.provide(NodeFileSystem.layer))

/** Three nodes that callers share, which know of one another and of so many that are not there. */
const tenantsBeside = Effect.fnUntraced(function* (absent: number) {
  const tenancy = yield* makeTenancy
  const ports = yield* Effect.forEach([1, 2, 3], () => freePort)
  const others = yield* Effect.replicateEffect(freePort, absent)
  const addresses = [...ports, ...others].map((port) => `http://127.0.0.1:${port}`)
  const nodes = yield* Effect.forEach(ports, (port) => tenantAt(tenancy.keysFile, port, addresses))
  return { nodes, ports, others, a: tenancy.a.secret, b: tenancy.b.secret, keysFile: tenancy.keysFile }
}, Effect.provide(NodeFileSystem.layer))
const tenants = tenantsBeside(0)

const strict = Simulator.layer({ script: everyKind, apiKeys: [upstreamKey] })

const tools = [{ type: "function", name: "look_up", parameters: {}, strict: false }]
const turnOf = (more: JsonObject): JsonObject => ({ tools, input: [user("And then?")], ...more })

describe("the record of ids of a cluster", () => {
  it.effect("refuses key B the ids of key A on every node, right after A's turn on another, and gives A its own", () =>
    Effect.gen(function* () {
      const { a, b, nodes } = yield* tenants
      for (const node of nodes.slice(0, 1)) {
        const begun = yield* turnAt(node, turnOf({ input: [user("Begin.")] }), { key: a })
        assert.strictEqual(begun.status, 200, begun.text)
        const { items, message, reasoning, response, result } = madeBy(begun)
        const bodies = {
          previous_response_id: turnOf({ previous_response_id: response, input: [result] }),
          item_reference: turnOf({
            input: [{ type: "item_reference", id: String(message["id"]) }, user("And then?")],
          }),
          "a whole reasoning item": turnOf({ input: [reasoning, user("And then?")] }),
          "a whole output": turnOf({ input: [...items, result] }),
          "an id in metadata": turnOf({ metadata: { before: response } }),
          "a list of ids in a text": turnOf({ metadata: { before: `x ${response}, y` } }),
        }
        for (const other of nodes) {
          const path = `${other.proxy.url}/responses/${response}`
          // The first of all that this node is asked about the id.
          assert.strictEqual((yield* ask(path, { key: a })).status, 200)
          for (const [place, body] of Object.entries(bodies)) {
            const { status, text } = yield* turnAt(other, body, { key: b })
            assert.strictEqual(status, 404, `${place}: ${text}`)
          }
          assert.strictEqual((yield* ask(path, { key: b })).status, 404)
          const own = yield* turnAt(other, bodies["a whole output"], { key: a })
          assert.strictEqual(own.status, 200, own.text)
          assert.strictEqual((yield* ask(path, { key: a })).status, 200)
        }
      }
    }).pipe(Effect.scoped, Effect.provide(strict)),
  )

  it.effect("goes on without a node that is away: what it alone knew is nobody's", () =>
    Effect.gen(function* () {
      const { a, b, nodes } = yield* tenants
      const [first, second, third] = nodes as [ClusterNode, ClusterNode, ClusterNode]
      const { response, result } = madeBy(yield* turnAt(first, turnOf({ input: [user("Begin.")] }), { key: a }))
      const next = turnOf({ previous_response_id: response, input: [result] })
      assert.strictEqual((yield* turnAt(second, next, { key: a })).status, 200)
      yield* first.stop
      assert.strictEqual((yield* turnAt(second, next, { key: b })).status, 404)
      assert.strictEqual((yield* turnAt(third, next, { key: b })).status, 404)
      // The second has heard of it, and tells the third.
      assert.strictEqual((yield* turnAt(third, next, { key: a })).status, 200)
    }).pipe(Effect.scoped, Effect.provide(strict)),
  )
})

describe("/metrics of a node", () => {
  it.effect("counts what was handed over and taken over, and shows the other nodes", () =>
    Effect.gen(function* () {
      const { a, keysFile, nodes, others, ports } = yield* tenantsBeside(2)
      const [owner, other] = nodes as [ClusterNode, ClusterNode]
      const relay = yield* relayTo(ports[1] ?? 0)
      const [own, absent] = others as [number, number]
      const entry = yield* tenantAt(keysFile, own, [owner.address, relay.address, `http://127.0.0.1:${absent}`])
      const lost = yield* sessionOwnedBy(other, entry, a)
      yield* relay.refuse
      const answer = yield* turnAt(entry, turnOf({}), { key: a, ...inSession(lost) })
      assert.strictEqual(answer.headers.get("x-respool-takeover"), "owner_unreachable")
      assert.strictEqual(placeOf(answer), entry.name)
      const session = yield* sessionOwnedBy(owner, entry, a)
      const before = sum(yield* scrapedAt(new URL(entry.proxy.url).origin), "respool_forwards_total")
      yield* turnAt(entry, turnOf({}), { key: a, ...inSession(session) })
      const then = yield* scrapedAt(new URL(entry.proxy.url).origin)
      assert.strictEqual(sum(then, "respool_forwards_total", { outcome: "ended" }), before + 1)
      assert.strictEqual(sum(then, "respool_forward_seconds_count"), before + 1)
      assert.strictEqual(sum(then, "respool_takeovers_total", { reason: "owner_unreachable" }), 1)
      assert.strictEqual(sum(then, "respool_takeovers_total"), 1)
      // The absent one counts as alive until it has been asked; the one that could not be reached does not.
      const [alive, gone] = ["alive", "gone"].map((state) => sum(then, "respool_nodes", { state }))
      assert.include([[1, 2].join(), [2, 1].join()], [alive, gone].join())
      const { totals } = yield* frame().pipe(Effect.provideService(TestProxy, entry.proxy))
      assert.deepStrictEqual(totals.takeovers, { owner_unreachable: 1 })
      assert.strictEqual(totals.forwards["ended"], before + 1)
      assert.isAbove(totals.forwardMs, -1)
      yield* owner.stop
      const last = yield* scrapedAt(new URL(entry.proxy.url).origin)
      assert.strictEqual(sum(last, "respool_nodes", { state: "draining" }), 1)
    }).pipe(Effect.scoped, Effect.provide(strict)),
  )
})
