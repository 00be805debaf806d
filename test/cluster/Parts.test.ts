/**
 * What nodes hand each other, apart from any network: numbers that are taken once, sealed requests, frames, the ring.
 */
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { FrameParser, eventFrame, frame } from "../../src/cluster/Frames.ts"
import { Directory, maxPlaces } from "../../src/cluster/places/Directory.ts"
import { ringOf } from "../../src/cluster/Ring.ts"
import { AnswerOpening, AnswerSeal } from "../../src/cluster/sealed/Answers.ts"
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
    const [whole, rest] = atOnce(sender.seal(label, secret, bytes(body)))
    return { owner, sender, label, text, sealed: whole, body: rest }
  }

  it("is opened by who has the secret, and shows who took it", () => {
    const { body, label, owner, sealed: whole, text } = sealed()
    assert.deepStrictEqual(owner.open(text), label)
    assert.strictEqual(label.sealed, whole.length)
    assert.strictEqual(label.body, body.length)
    const opened = atOnce(owner.unseal(label, whole, body))
    assert.isDefined(opened)
    assert.strictEqual(opened.secret.toString(), '{"credential":"sk-1234"}')
    assert.strictEqual(opened.body.toString(), "the body")
    assert.isFalse(whole.includes("sk-1234"))
    assert.isFalse(body.includes("body"))
  })

  it("is not opened with another secret, with a changed label, part or body, or a part of another request", () => {
    const { body, label, owner, sealed: whole, text } = sealed()
    assert.isUndefined(new Sealing(deriving("another secret")).open(text))
    for (let at = 0; at < text.length; at += 7) {
      const changed = text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1)
      assert.isUndefined(owner.open(changed), changed)
    }
    const unsealed = (of: Label, part: Uint8Array, rest: Uint8Array = body) => atOnce(owner.unseal(of, part, rest))
    for (const at of body.keys()) {
      const changed = Buffer.from(body)
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.isUndefined(unsealed(label, whole, changed))
    }
    assert.isUndefined(unsealed(label, whole.subarray(1)))
    assert.isUndefined(unsealed({ ...label, sequence: label.sequence + 1 }, whole))
    assert.isUndefined(unsealed({ ...label, to: owner.bootId.toLowerCase() }, whole))
    for (let at = 0; at < whole.length; at += 5) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.isUndefined(unsealed(label, changed))
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

describe("an answer's seal", () => {
  const sealing = new Sealing(deriving("one secret of all"))
  const keyOf = (sequence: number, of = sealing) =>
    of.answerKey({ to: sealing.bootId, from: sealing.bootId, sequence, sealed: 1, body: 1 })
  const texts = ["T0:", "🦜 in two pieces", "", "x".repeat(200_000), "é".repeat(70_000), "the end"]
  const sealed = (sequence = 1) => {
    const seal = new AnswerSeal(keyOf(sequence))
    return texts.map((text) => Buffer.from(seal.seal(text)))
  }
  const opened = (parts: ReadonlyArray<Uint8Array>, key = keyOf(1)) => {
    const opening = new AnswerOpening(key)
    let whole = ""
    for (const part of parts) {
      const text = opening.open(part)
      if (text === undefined) return { whole, isWhole: false }
      whole += text
    }
    return { whole, isWhole: true }
  }

  it("is opened to the same text, whatever parts the stream comes in, and shows none of it", () => {
    const whole = Buffer.concat(sealed())
    assert.isFalse(whole.includes("the end"))
    for (const size of [1, 7, 4_096, 65_535, 65_557, whole.length]) {
      if (size < 7 && whole.length > 1_000_000) continue
      const parts: Array<Buffer> = []
      for (let at = 0; at < whole.length; at += size) parts.push(whole.subarray(at, at + size))
      assert.isTrue(opened(parts).whole === texts.join(""), `parts of ${size}`)
    }
  })

  it("is not opened past a piece that was changed, left out, repeated, moved, or of another answer", () => {
    const pieces = sealed()
    const others = sealed(2)
    const replaced = (at: number, ...by: typeof others) => opened(pieces.toSpliced(at, 1, ...by))
    for (const [at, piece] of pieces.entries()) {
      const changed = Buffer.from(piece)
      changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1
      const ways = {
        changed: replaced(at, changed),
        "left out": at === pieces.length - 1 ? { isWhole: false, whole: "" } : replaced(at),
        repeated: replaced(at, piece, piece),
        "of another answer": replaced(at, ...others.slice(at, at + 1)),
      }
      for (const [way, { isWhole, whole }] of Object.entries(ways)) {
        assert.isFalse(isWhole, `${at} ${way}`)
        assert.isTrue(texts.join("").startsWith(whole), `${at} ${way}`)
      }
    }
    assert.isFalse(opened(pieces, keyOf(2)).isWhole)
    assert.isFalse(opened(pieces, keyOf(1, new Sealing(deriving("another secret")))).isWhole)
    assert.isFalse(opened([Buffer.from("<html>no sealed piece</html>")]).isWhole)
  })
})

describe("Directory", () => {
  const live = (...names: ReadonlyArray<string>) => {
    const all = new Set(names)
    return (name: string) => all.has(name)
  }

  it("gives a session to who claims it first, for as long as that one lives", () => {
    const directory = new Directory()
    const told = (claims: string, ...names: ReadonlyArray<string>) =>
      directory.holderOf({ key: "k", claims }, live(...names))
    assert.strictEqual(told("a", "a", "b", "c"), "a")
    assert.strictEqual(told("b", "a", "b", "c"), "a")
    assert.strictEqual(directory.holderOf({ key: "other", claims: "c" }, live("a", "b", "c")), "c")
    assert.strictEqual(directory.moved, 0)
    assert.strictEqual(told("b", "b", "c"), "b")
    assert.strictEqual(told("a", "a", "b", "c"), "b")
    assert.strictEqual(directory.moved, 1)
    // Who asks lives, whatever is known of it here.
    assert.strictEqual(told("b"), "b")
    assert.strictEqual(directory.moved, 1)
  })

  it("forgets the sessions that were asked for longest ago", () => {
    const directory = new Directory()
    const told = (key: number, claims: string) => directory.holderOf({ key: String(key), claims }, () => true)
    for (let key = 0; key < maxPlaces; key++) told(key, "a")
    assert.strictEqual(told(0, "b"), "a")
    told(maxPlaces, "a")
    assert.deepStrictEqual([told(0, "b"), told(1, "b"), told(3, "b")], ["a", "b", "a"])
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
