/**
 * What nodes hand each other, apart from any network: numbers that are taken once, sealed requests, frames, the ring.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { FrameParser, eventFrame, frame } from "../../src/cluster/Frames.ts"
import { ringOf } from "../../src/cluster/Ring.ts"
import type { Label } from "../../src/cluster/sealed/Sealing.ts"
import { Sealing } from "../../src/cluster/sealed/Sealing.ts"
import { Sequences } from "../../src/cluster/sealed/Sequences.ts"
import { deriving } from "../../src/config/cluster/ClusterSecret.ts"
import type { ClusterSettings } from "../../src/config/cluster/ClusterSettings.ts"
import { clusterProblem } from "../../src/config/cluster/ClusterSettings.ts"
import { atOnce } from "../../src/wire/Steps.ts"

const bytes = (text: string) => new TextEncoder().encode(text)

describe("Sequences", () => {
  it("takes each number of a boot once, in whatever order they come", () => {
    const sequences = new Sequences()
    for (const number of [1, 3, 2, 70_000, 69_999, 4_465, 65_000]) {
      assert.isTrue(sequences.take("a", number), String(number))
      assert.isFalse(sequences.take("a", number), `${number} again`)
    }
    assert.isTrue(sequences.take("b", 3))
  })

  it("takes none that is so far behind that it may have been taken before, and none that is no number of ours", () => {
    const sequences = new Sequences()
    assert.isTrue(sequences.take("a", 200_000))
    for (const number of [200_000 - 65_536, 100_000, 1, 0, -1]) assert.isFalse(sequences.take("a", number))
    assert.isTrue(sequences.take("a", 200_000 - 65_535))
  })

  it("takes a number whose place in the window one before it had", () => {
    const sequences = new Sequences()
    for (const number of [5, 5 + 65_536, 5 + 2 * 65_536]) assert.isTrue(sequences.take("a", number), String(number))
    assert.isTrue(sequences.take("a", 6 + 65_536))
  })
})

describe("Sealing", () => {
  const sealed = (body = "the body") => {
    const sender = new Sealing(deriving("one secret of all"))
    const owner = new Sealing(deriving("one secret of all"))
    const secret = bytes('{"credential":"sk-1234"}')
    const { label, text } = sender.label(owner.bootId, { sealed: secret.length, body: body.length })
    return { owner, sender, label, text, sealed: atOnce(sender.seal(label, secret, bytes(body))) }
  }

  it("is opened by who has the secret, and shows who took it", () => {
    const { label, owner, sealed: whole, sender, text } = sealed()
    assert.deepStrictEqual(owner.open(text), label)
    assert.strictEqual(label.sealed, whole.length)
    assert.strictEqual(atOnce(owner.unseal(label, whole, bytes("the body")))?.toString(), '{"credential":"sk-1234"}')
    assert.strictEqual(owner.taken(label), sender.taken(label))
    assert.isFalse(whole.includes("sk-1234"))
  })

  it("is not opened with another secret, with a changed label, part or body, or a part of another request", () => {
    const { label, owner, sealed: whole, text } = sealed()
    assert.isUndefined(new Sealing(deriving("another secret")).open(text))
    for (let at = 0; at < text.length; at += 7) {
      const changed = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1)
      assert.isUndefined(owner.open(changed), changed)
    }
    const unsealed = (of: Label, part: Uint8Array, body: string) => atOnce(owner.unseal(of, part, bytes(body)))
    assert.isUndefined(unsealed(label, whole, "The body"))
    assert.isUndefined(unsealed(label, whole.subarray(1), "the body"))
    assert.isUndefined(unsealed({ ...label, sequence: label.sequence + 1 }, whole, "the body"))
    assert.isUndefined(unsealed({ ...label, to: owner.bootId.toLowerCase() }, whole, "the body"))
    for (let at = 0; at < whole.length; at += 5) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.isUndefined(unsealed(label, changed, "the body"))
    }
  })

  it("has another number for each request, and another key for each boot", () => {
    const sealing = new Sealing(deriving("one secret of all"))
    const labels = Array.from({ length: 5 }, () => sealing.label(sealing.bootId, { sealed: 1, body: 1 }).label)
    assert.deepStrictEqual(
      labels.map(({ sequence }) => sequence),
      [1, 2, 3, 4, 5],
    )
    assert.notStrictEqual(new Sealing(deriving("one secret of all")).bootId, sealing.bootId)
  })
})

describe("FrameParser", () => {
  const told = (pieces: ReadonlyArray<string>) => {
    const seen: Array<readonly [string, string]> = []
    const parser = new FrameParser({
      event: (type, text) => seen.push([`E ${type}`, text]),
      other: (kind, text) => seen.push([kind, text]),
    })
    return { readable: pieces.every((piece) => parser.feed(piece)), seen }
  }
  const frames = [
    frame("T", "proof"),
    frame("A", ""),
    eventFrame("response.output_text.delta", '{"delta":"E5:T🦜\\n12,3:"}'),
    eventFrame("", ""),
    eventFrame("odd,3:\n", "1:E"),
    frame("D", "{}"),
  ]
  const expected = [
    ["T", "proof"],
    ["A", ""],
    ["E response.output_text.delta", '{"delta":"E5:T🦜\\n12,3:"}'],
    ["E ", ""],
    ["E odd,3:\n", "1:E"],
    ["D", "{}"],
  ]

  it("reads the same whatever pieces the stream comes in", () => {
    const whole = frames.join("")
    assert.deepStrictEqual(told([whole]).seen, expected as never)
    assert.deepStrictEqual(told([...frames]).seen, expected as never)
    for (let size = 1; size < 17; size++) {
      const pieces: Array<string> = []
      for (let at = 0; at < whole.length; at += size) pieces.push(whole.slice(at, at + size))
      assert.deepStrictEqual(told(pieces).seen, expected as never, `pieces of ${size}`)
    }
  })

  it("does not go on with what is no stream of frames", () => {
    for (const odd of ["<html>", "T5proof", "A3,3:abcdef", "E1x:", `T${"9".repeat(30)}:`, "\u0000\u0000:"]) {
      const { readable, seen } = told([frame("A", ""), odd, frame("A", "")])
      assert.isFalse(readable && seen.length > 1, odd)
    }
  })
})

describe("ringOf", () => {
  const names = ["a:1", "b:1", "c:1", "d:1"]
  const keys = Array.from({ length: 2_000 }, (_, index) => `12:caller:1234x${index}`)

  it("is the same whatever order nodes are told in, and gives each node about its share", () => {
    const ring = ringOf(names)
    const same = ringOf([...names, "a:1"].toReversed())
    const shares = new Map<string, number>()
    for (const key of keys) {
      const owner = ring.ownerOf(key) ?? ""
      assert.strictEqual(same.ownerOf(key), owner)
      shares.set(owner, (shares.get(owner) ?? 0) + 1)
    }
    for (const name of names) assert.isAbove(shares.get(name) ?? 0, keys.length / names.length / 2, name)
  })

  it("moves only the sessions of a node that goes", () => {
    const before = ringOf(names)
    const after = ringOf(names.filter((name) => name !== "b:1"))
    for (const key of keys) {
      if (before.ownerOf(key) !== "b:1") assert.strictEqual(after.ownerOf(key), before.ownerOf(key))
    }
    assert.isUndefined(ringOf([]).ownerOf("key"))
  })
})

describe("clusterProblem", () => {
  const none: ClusterSettings = {
    clusterAddress: undefined,
    clusterSecret: undefined,
    clusterSecretFile: undefined,
    clusterNodes: [],
    clusterDns: undefined,
    clusterDatabase: undefined,
  }
  const secret = Redacted.make("0123456789abcdef")
  const whole = { ...none, clusterAddress: "http://10.0.0.1:8090", clusterSecret: secret, clusterDns: "nodes" }
  const problem = (settings: Partial<ClusterSettings>, port = 8080) =>
    clusterProblem({ ...none, ...settings }, port, (name) => name)

  it("lets pass what makes a cluster, and what makes none", () => {
    assert.isUndefined(problem({}))
    assert.isUndefined(problem(whole))
    assert.isUndefined(problem({ ...whole, clusterDns: undefined, clusterNodes: ["http://a:1"] }))
    assert.isUndefined(problem({ ...whole, clusterDns: undefined, clusterDatabase: secret }))
    assert.isUndefined(problem({ ...whole, clusterSecret: undefined, clusterSecretFile: "file" }))
  })

  it("names what is missing, too much, or in the way", () => {
    const cases: ReadonlyArray<readonly [Partial<ClusterSettings>, RegExp]> = [
      [{ clusterSecret: secret }, /^clusterSecret needs clusterAddress/],
      [{ clusterSecretFile: "file" }, /^clusterSecretFile needs clusterAddress/],
      [{ clusterNodes: ["http://a:1"] }, /^clusterNodes needs clusterAddress/],
      [{ clusterDns: "a" }, /^clusterDns needs clusterAddress/],
      [{ clusterDatabase: secret }, /^clusterDatabase needs clusterAddress/],
      [{ ...whole, clusterSecret: undefined }, /^clusterAddress needs clusterSecret or clusterSecretFile$/],
      [{ ...whole, clusterSecretFile: "file" }, /^clusterSecret and clusterSecretFile: say one of them$/],
      [{ ...whole, clusterDns: undefined }, /^clusterAddress needs clusterNodes, clusterDns or clusterDatabase$/],
      [{ ...whole, clusterNodes: ["http://a:1"] }, /^clusterNodes and clusterDns: say one of them$/],
      [{ ...whole, clusterAddress: "http://10.0.0.1:8080" }, /^clusterAddress=.*its port is where clients come/],
      [{ ...whole, clusterAddress: "http://10.0.0.1" }, /clients come/],
    ]
    for (const [settings, expected] of cases) {
      const port = settings.clusterAddress === "http://10.0.0.1" ? 80 : 8080
      assert.match(problem(settings, port) ?? "", expected)
    }
  })
})
