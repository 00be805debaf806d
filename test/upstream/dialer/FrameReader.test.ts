import { assert, describe, it } from "@effect/vitest"
import { isUtf8 } from "node:buffer"
import { vi } from "vitest"
import type { FrameSink } from "../../../src/upstream/dialer/FrameReader.ts"
import { FrameReader, isCloseCode, maxFragments } from "../../../src/upstream/dialer/FrameReader.ts"
import { makeRandom } from "../../support/Random.ts"
import type { Random } from "../../support/Random.ts"
import { closing, frame, text } from "../../support/Frames.ts"
import { runs } from "../../support/Runs.ts"

const recorder = () => {
  const said: Array<string> = []
  const sink: FrameSink = {
    onText: (text) => said.push(`text ${text}`),
    onBinary: () => said.push("binary"),
    onPing: (payload) => said.push(`ping ${Buffer.from(payload).toString("hex")}`),
    onPong: () => said.push("pong"),
    onClose: (code, reason) => said.push(`close ${code} ${reason}`),
    onOverflow: () => said.push("overflow"),
    onViolation: (code) => said.push(`violation ${code}`),
  }
  return { said, sink }
}

const readAll = (bytes: Buffer, maxMessage = 1 << 20) => {
  const { said, sink } = recorder()
  const reader = new FrameReader(maxMessage, sink)
  reader.read(Buffer.from(bytes))
  while (reader.waits()) reader.goOn()
  return said
}

/** The specification again, without regard to time or memory: reads one whole stream. */
const oracle = (bytes: Buffer, maxMessage: number): Array<string> => {
  const said: Array<string> = []
  let message: { opcode: number; parts: Array<Buffer>; size: number } | undefined
  for (let at = 0; ;) {
    if (bytes.length < at + 2) return said
    const [first = 0, second = 0] = bytes.subarray(at)
    const opcode = first & 15
    const declared = second & 127
    const size = declared < 126 ? 2 : declared === 126 ? 4 : 10
    if (bytes.length < at + size) return said
    const length =
      size === 2 ? BigInt(declared) : size === 4 ? BigInt(bytes.readUInt16BE(at + 2)) : bytes.readBigUInt64BE(at + 2)
    const known = [0, 1, 2, 8, 9, 10].includes(opcode)
    const control = opcode >= 8
    if (!known || (first & 0x70) > 0 || (second & 0x80) > 0) return [...said, "violation 1002"]
    if (control && ((first & 0x80) === 0 || declared > 125)) return [...said, "violation 1002"]
    if (!control && (opcode === 0) === (message === undefined)) return [...said, "violation 1002"]
    if ((size === 4 && length < 126n) || (size === 10 && length < 65536n)) return [...said, "violation 1002"]
    if (!control && BigInt(message?.size ?? 0) + length > BigInt(maxMessage)) return [...said, "overflow"]
    if (BigInt(bytes.length) < BigInt(at + size) + length) return said
    const payload = bytes.subarray(at + size, at + size + Number(length))
    at += size + payload.length
    if (opcode === 9) said.push(`ping ${payload.toString("hex")}`)
    if (opcode === 10) said.push("pong")
    if (opcode === 8) {
      if (payload.length === 0) return [...said, "close 1005 "]
      const code = payload.length === 1 ? 0 : payload.readUInt16BE(0)
      const allowed =
        (code >= 1000 && code < 1015 && ![1004, 1005, 1006].includes(code)) || (code > 2999 && code < 5000)
      if (!allowed) return [...said, "violation 1002"]
      const reason = payload.subarray(2)
      return [...said, isUtf8(reason) ? `close ${code} ${reason.toString()}` : "violation 1007"]
    }
    if (control) continue
    message ??= { opcode, parts: [], size: 0 }
    message.parts.push(payload)
    message.size += payload.length
    if ((first & 0x80) === 0) continue
    const whole = Buffer.concat(message.parts)
    if (message.opcode === 1 && !isUtf8(whole)) return [...said, "violation 1007"]
    said.push(message.opcode === 2 ? "binary" : `text ${whole.toString()}`)
    message = undefined
  }
}

const contents = [
  "",
  "{}",
  "x".repeat(125),
  "y".repeat(126),
  "é🜂漢\ufffd\ufeff\u0000",
  "z".repeat(1000),
  "w".repeat(66_000),
]
const badTexts = ["ff", "c3", "e28ea0c328", "eda080", "c080", "f4908080", "61ff62", "efbfbdff"]

/** A stream of frames, and where each ends; one in a few is broken somewhere. */
const stream = (random: Random): { readonly bytes: Buffer; readonly ends: ReadonlyArray<number> } => {
  const parts: Array<Buffer> = []
  const control = () => {
    if (random(4) === 0) parts.push(frame(9 + random(2), "p".repeat(random(126))))
  }
  for (let count = 1 + random(12); count > 0; count--) {
    const opcode = random(5) === 0 ? 2 : 1
    const payload =
      random(20) === 0
        ? Buffer.from(badTexts[random(badTexts.length)] ?? "", "hex")
        : Buffer.from(contents[random(contents.length)] ?? "")
    const cuts =
      random(3) === 0 ? Array.from({ length: random(5) }, () => random(payload.length + 1)).sort((a, b) => a - b) : []
    const ends = [...cuts, payload.length]
    for (const [i, end] of ends.entries()) {
      control()
      const odd =
        random(60) === 0
          ? [{ reserved: 1 + random(7) }, { masked: true }, { declared: BigInt(random(70_000)) }, { fin: false }][
              random(4)
            ]
          : {}
      const kind = random(60) === 0 ? random(16) : i === 0 ? opcode : 0
      parts.push(frame(kind, payload.subarray(ends[i - 1] ?? 0, end), { fin: i === cuts.length, ...odd }))
    }
  }
  if (random(3) === 0)
    parts.push(
      random(4) === 0
        ? frame(8, "")
        : closing(random(2) === 0 ? 1000 : random(6000), random(3) === 0 ? Buffer.from([0xc3, 0x28]) : "bye"),
    )
  const all = Buffer.concat(parts)
  if (random(8) === 0) all[random(all.length)] = random(256)
  let end = 0
  const ends = parts.map((part) => (end += part.length))
  return { bytes: random(8) === 0 ? all.subarray(0, random(all.length)) : all, ends }
}

/** Pieces of any size, or each frame for itself. */
const chunks = (random: Random, { bytes, ends }: ReturnType<typeof stream>): Array<Buffer> => {
  const most = [1, 3, 20, 700, 70_000][random(5)] ?? 1
  const apart = random(3) === 0
  const cut: Array<Buffer> = []
  // A copy each, as from the network, so that nothing read beyond a chunk's end goes unnoticed.
  for (let at = 0; at < bytes.length;) {
    const next = apart ? ends.find((end) => end > at) : undefined
    const end = Math.min(bytes.length, next ?? at + 1 + random(most))
    cut.push(Buffer.from(bytes.subarray(at, end)))
    at = end
  }
  return cut
}

describe("FrameReader", () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`says the same as the specification of any stream in any pieces, paused anywhere (seed ${seed})`, () => {
      const random = makeRandom(seed)
      const kinds = new Set<string>()
      for (let run = 0; run < runs(300, 100); run++) {
        const sent = stream(random)
        const maxMessage = random(10) === 0 ? random(1000) : 1 << 20
        const expected = oracle(sent.bytes, maxMessage)
        for (const one of expected) kinds.add(one.startsWith("violation") ? one : (one.split(" ")[0] ?? ""))
        const { said, sink } = recorder()
        const pausing = random(2) === 0
        const state = { paused: false }
        const stopping = (call: () => void) => {
          assert.isFalse(state.paused, "called while paused")
          call()
          if (pausing && random(3) === 0) {
            reader.pause()
            // Sometimes taken back at once, from inside of the call.
            if (random(4) === 0) reader.resume()
            else state.paused = true
          }
        }
        const reader = new FrameReader(maxMessage, {
          ...sink,
          onText: (text) => stopping(() => sink.onText(text)),
          onBinary: () => stopping(sink.onBinary),
          onPing: (payload) => stopping(() => sink.onPing(payload)),
          onPong: () => stopping(sink.onPong),
        })
        const go = () => {
          state.paused = false
          reader.resume()
        }
        for (const chunk of chunks(random, sent)) {
          reader.read(chunk)
          while (state.paused && random(3) > 0) go()
          while (reader.waits() && random(3) > 0) reader.goOn()
        }
        while (state.paused || reader.waits()) {
          if (state.paused) go()
          reader.goOn()
        }
        assert.isFalse(reader.holds())
        assert.deepStrictEqual(said, expected, `seed ${seed}, run ${run}`)
      }
      for (const kind of ["text", "binary", "ping", "pong", "close", "overflow", "violation 1002", "violation 1007"]) {
        assert.isTrue(kinds.has(kind), kind)
      }
    })
  }

  it("knows every close code that may stand in a frame", () => {
    const allowed = Array.from({ length: 65_536 }, (_, code) => code).filter(isCloseCode)
    assert.strictEqual(allowed.length, 12 + 2000)
    for (const code of [999, 1004, 1005, 1006, 1015, 1016, 2999, 5000]) assert.isFalse(isCloseCode(code), String(code))
    for (const code of [1000, 1003, 1007, 1014, 3000, 4999]) assert.isTrue(isCloseCode(code), String(code))
  })

  it("refuses lengths that are longer than they need to be", () => {
    const short = Buffer.from([0x81, 126, 0, 125])
    const long = Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
    for (const head of [short, long]) assert.deepStrictEqual(readAll(head), ["violation 1002"])
  })

  it("takes a chunk for what it is, though it looks like a whole text", () => {
    const said = (...chunks: ReadonlyArray<Buffer>) => {
      const { said, sink } = recorder()
      const reader = new FrameReader(1 << 20, sink)
      for (const chunk of chunks) reader.read(Buffer.from(chunk))
      while (reader.waits()) reader.goOn()
      return said
    }
    const inner = text("inner")
    const long = Buffer.alloc(128, "x")
    const headed = (...head: ReadonlyArray<number>) => Buffer.concat([Buffer.from(head), long])
    const around = frame(2, Buffer.concat([Buffer.from("ab"), inner]))
    const cut = around.length - inner.length
    // The rest of another message, the second half of a head, a text inside of a text.
    assert.deepStrictEqual(said(around.subarray(0, cut), around.subarray(cut)), ["binary"])
    assert.deepStrictEqual(said(frame(9, inner).subarray(0, 2), inner), [`ping ${inner.toString("hex")}`])
    assert.deepStrictEqual(said(Buffer.from([0x82, 126]), inner, Buffer.alloc(0x8105 - 5)), ["binary"])
    assert.deepStrictEqual(said(text("a", { fin: false }), text("b")), ["violation 1002"])
    // A length that is too long by form, too long indeed, and a mask.
    assert.deepStrictEqual(said(Buffer.from([0x81, 126, 0, 5, ...Buffer.from("hello")])), ["violation 1002"])
    assert.deepStrictEqual(said(headed(0x81, 127, 0, 128)), ["overflow"])
    assert.deepStrictEqual(said(headed(0x81, 0xfe, 0, 128)), ["violation 1002"])
  })

  it("judges a message's length from the head, without waiting for the message", () => {
    assert.deepStrictEqual(readAll(text("", { declared: 1001n }), 1000), ["overflow"])
    assert.deepStrictEqual(readAll(text("", { declared: 1n << 63n })), ["overflow"])
    const parts = [text("x".repeat(600), { fin: false }), frame(0, "", { declared: 401n })]
    assert.deepStrictEqual(readAll(Buffer.concat(parts), 1000), ["overflow"])
    assert.deepStrictEqual(readAll(frame(2, "", { declared: 1001n }), 1000), ["overflow"])
  })

  it("takes a message in as many fragments as the bound, and no more", () => {
    const fragments = (count: number) =>
      Buffer.concat([
        text("", { fin: false }),
        ...Array.from({ length: count - 2 }, () => Buffer.from([0, 0])),
        frame(0, "end"),
      ])
    assert.deepStrictEqual(readAll(fragments(maxFragments)), ["text end"])
    assert.deepStrictEqual(readAll(fragments(maxFragments + 1)), ["overflow"])
  })

  it("moves what it has of a message a few times, however many fragments it comes in", () => {
    const { said, sink } = recorder()
    const reader = new FrameReader(1 << 20, sink)
    const allocate = vi.spyOn(Buffer, "allocUnsafeSlow")
    try {
      for (let part = 0; part < 1000; part++) {
        reader.read(frame(part === 0 ? 1 : 0, "x".repeat(1000), { fin: part === 999 }))
      }
      assert.deepStrictEqual(said, [`text ${"x".repeat(1_000_000)}`])
      assert.isAtMost(allocate.mock.calls.length, 20)
      for (const [size] of allocate.mock.calls) assert.isAtMost(size, 1 << 20)
    } finally {
      allocate.mockRestore()
    }
  })

  it("hands on the beginning of a burst, and then a part of it each time that it is asked", () => {
    const { said, sink } = recorder()
    const reader = new FrameReader(1 << 20, sink)
    const burst = Array.from({ length: 2000 }, (_, at) => text(`${at} ${"x".repeat(100)}`))
    reader.read(Buffer.concat(burst))
    const counts = [said.length]
    while (reader.waits()) {
      reader.goOn()
      counts.push(said.length)
    }
    assert.isAtMost(counts[0] ?? 0, 30)
    assert.isAtLeast(counts.length, 5)
    assert.strictEqual(said.length, 2000)
    assert.isTrue(said.every((one, at) => one.startsWith(`text ${at} `)))
  })

  it("keeps what comes while a burst waits behind it, and hands on nothing of either while it is paused", () => {
    const { said, sink } = recorder()
    const reader = new FrameReader(1 << 20, sink)
    reader.read(Buffer.concat(Array.from({ length: 100 }, () => text("x".repeat(100)))))
    reader.read(text("later"))
    const first = said.length
    assert.isTrue(reader.waits())
    reader.pause()
    assert.isFalse(reader.waits())
    reader.goOn()
    assert.strictEqual(said.length, first)
    reader.resume()
    while (reader.waits()) reader.goOn()
    assert.strictEqual(said.length, 101)
    assert.strictEqual(said.at(-1), "text later")
  })

  it("hands on nothing once it was stopped from inside of a call", () => {
    const { said, sink } = recorder()
    const reader = new FrameReader(1000, {
      ...sink,
      onText: (text) => {
        sink.onText(text)
        reader.stop()
      },
    })
    reader.read(Buffer.concat([text("one"), text("two"), frame(9, ""), closing(1000)]))
    reader.read(text("three"))
    reader.resume()
    assert.deepStrictEqual(said, ["text one"])
    assert.isFalse(reader.holds())
  })
})
