import { assert, describe, it } from "@effect/vitest"
import { HashRing, PrimaryKey } from "effect"
import { createHash } from "node:crypto"
import { read } from "../documents/Pages.ts"
import { makeRandom } from "../support/Random.ts"
import { runs } from "../support/Runs.ts"
import { paper, table } from "./Paper.ts"

interface Place extends PrimaryKey.PrimaryKey {
  readonly name: string
}

const nodeOf = (index: number): Place => {
  const name = `http://10.0.${index >> 8}.${index & 255}:8090`
  return { name, [PrimaryKey.symbol]: () => name }
}

/** Who owns a session, as every virtual node computes it. */
const ringOf = (nodes: Iterable<number>): ((session: string) => string) => {
  const ring = HashRing.addMany(HashRing.make<Place>(), Array.from(nodes, nodeOf))
  return (session) => HashRing.get(ring, session)?.name ?? ""
}

const sessionsOf = (count: number) =>
  Array.from({ length: count }, (_, index) => createHash("sha256").update(`session ${index}`).digest("base64url"))

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index)

/** Ten turns of each conversation over virtual nodes that go and come, and how they travelled. */
const travelled = (sessions: ReadonlyArray<string>, nodes: number, balancer: "any" | "hash", seed: number) => {
  const random = makeRandom(seed)
  /** Where each session's connection is, which its keeper knows, and the nodes that are there. */
  const held = new Map<string, string>()
  const seen = { full: 0, later: 0, suffix: 0, handed: 0, moved: 0 }
  const all = upTo(nodes)
  const without = all.filter((node) => node !== 1)
  /** The balancer's own ring has its own names, of which the nodes know nothing. */
  const shift = 1_000
  const places = [all, without].map((up) => {
    const hashed = ringOf(up.map((node) => node + shift))
    const named = new Map(up.map((node) => [nodeOf(node + shift).name, nodeOf(node).name]))
    return {
      up: up.map((node) => nodeOf(node).name),
      hashed: sessions.map((session) => named.get(hashed(session)) ?? ""),
    }
  })
  for (let turn = 0; turn < 10; turn++) {
    const { hashed, up } = places[turn === 4 || turn === 5 ? 1 : 0]!
    const lives = new Set(up)
    for (const [index, session] of sessions.entries()) {
      const entry = (balancer === "any" ? up[random(up.length)] : hashed[index]) ?? ""
      const before = held.get(session)
      const holder = before !== undefined && lives.has(before) ? before : entry
      if (entry !== holder) seen.handed++
      const isSuffix = before === holder
      if (turn > 0) seen.later++
      if (isSuffix) seen.suffix++
      else seen.full++
      if (turn > 0 && !isSuffix) seen.moved++
      held.set(session, holder)
    }
  }
  return { ...seen, turns: sessions.length * 10 }
}

describe("Sessions over virtual nodes", () => {
  const sessions = sessionsOf(runs(100_000, 10_000))

  for (const count of [3, 5, 10, 25, 50, 100, 250]) {
    it(`are shared fairly by ${count}, and one that comes or goes moves its own share of them`, () => {
      const before = ringOf(upTo(count))
      const owners = sessions.map(before)
      const shares = new Map<string, number>()
      for (const owner of owners) shares.set(owner, (shares.get(owner) ?? 0) + 1)
      assert.strictEqual(shares.size, count)
      // A share of few sessions varies by chance as well: by some four standard deviations at most.
      const fair = sessions.length / count
      const chance = 4 / Math.sqrt(fair)
      for (const share of shares.values()) {
        assert.isAbove(share / fair, 0.7 - chance)
        assert.isBelow(share / fair, 1.4 + chance)
      }
      const joined = ringOf(upTo(count + 1))
      const newcomer = nodeOf(count).name
      const taken = sessions.filter((session, index) => joined(session) !== owners[index])
      for (const session of taken) assert.strictEqual(joined(session), newcomer)
      assert.approximately((taken.length / sessions.length) * (count + 1), 1, 0.4 + chance)

      const leaver = nodeOf(0).name
      const left = ringOf(upTo(count).slice(1))
      const given = sessions.filter((session, index) => left(session) !== owners[index])
      assert.lengthOf(given, shares.get(leaver) ?? 0)
      assert.isTrue(given.every((session) => before(session) === leaver))
      // Not all to one neighbour.
      if (count > 3) assert.isAbove(new Set(given.map(left)).size, 2)
    })
  }

  for (const [seed, nodes] of [3, 10, 50].entries()) {
    it(`are suffixes but for what moves, over ${nodes} nodes of which one goes and comes back`, () => {
      const ofAny = travelled(sessions, nodes, "any", seed)
      const share = 1 / nodes
      // The share of one node moves once in nine later turns, and stays where it went.
      assert.approximately(ofAny.moved / ofAny.later, share / 9, share * 0.06)
      assert.strictEqual(ofAny.full, sessions.length + ofAny.moved)
      // Most turns come in at another node, where the balancer does not hash; a first one never does.
      assert.approximately(ofAny.handed / ofAny.turns, (1 - share) * 0.9, share * 0.2)
      const ofHash = travelled(sessions, nodes, "hash", seed)
      assert.approximately(ofHash.moved / ofHash.later, share / 9, share * 0.06)
      // What moved is brought to the node that came back, in four of ten turns, and handed on from there.
      assert.approximately(ofHash.handed / ofHash.turns, share * 0.4, share * 0.2)
    })
  }
})

const page = "scale"

describe(`What docs/${page} has on paper`, () => {
  it("is what is reckoned from the benchmark's figures", () => {
    assert.include(read(`docs/${page}.md`), `<!-- paper -->\n${table()}\n<!-- /paper -->`)
  })

  it("grows with the load as it should", () => {
    const small = paper({ sessions: 1_000, turns: 100, hashes: true })
    assert.deepInclude(small, { nodes: 1, handedPerSecond: 0, hellosPerNode: 0, addresses: 1 })
    const [hashed, spread] = [true, false].map((hashes) => paper({ sessions: 1e6, turns: 1e5, hashes }))
    assert.deepInclude(hashed, {
      handedPerSecond: 0,
      hellosPerNode: 249,
      writesPerSecond: 125,
      rowsReadPerSecond: 31_250,
    })
    assert.approximately((spread?.nodes ?? 0) / (hashed?.nodes ?? 1), 1.6, 0.01)
    assert.approximately(spread?.handedPerSecond ?? 0, 1e5 / 15, 25)
  })
})
