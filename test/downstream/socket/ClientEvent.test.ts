/**
 * What is made of a client's message before it is a turn: in steps, so that a large one holds up nobody else.
 */
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { addressIn, encoded, expanded } from "../../../src/downstream/socket/ClientEvent.ts"
import { steerFailed, steerFrame } from "../../../src/downstream/socket/SteerFrames.ts"
import type { RequestBody } from "../../../src/wire/RequestBody.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import type { Steps } from "../../../src/wire/Steps.ts"
import { utf8 } from "../../support/Bytes.ts"

const MiB = 1 << 20

/** What comes of the steps, and how many there were. */
const counted = <A>(steps: Steps<A>) => {
  for (let count = 1; ; count++) {
    const { done, value } = steps.next()
    if (done === true) return { count, value }
  }
}

const body = (value: unknown): RequestBody => Result.getOrThrow(parseRequestBody(utf8(JSON.stringify(value))))

describe("A client's message", () => {
  for (const [what, unit] of [
    ["of one script", "x"],
    ["of letters of two bytes", "é"],
    ["of letters of three bytes", "漢"],
    ["of pairs", "🜂"],
    ["of pairs that lie across every step", "x🜂🜂x"],
    ["of half pairs", "\ud800"],
    ["of halves in the wrong order", "\udc00\ud800"],
    ["of all of them", "aé漢🜂\udfff\ud800"],
  ] as const) {
    for (const length of [0, 1, MiB / 2 - 1, MiB / 2, MiB / 2 + 1, MiB, 3 * MiB + 1]) {
      it(`${what}, ${length} units long, becomes the bytes that it has at once`, () => {
        const text = unit.repeat(Math.ceil(length / unit.length)).slice(0, length)
        const { count, value } = counted(encoded(text, Buffer.byteLength(text)))
        assert.isTrue(Buffer.from(text).equals(value))
        assert.isAtLeast(count, Math.floor(length / (MiB / 2)))
      })
    }
  }

  it("is told whom an error is for, in steps", () => {
    const text = JSON.stringify({ stream_id: "a", event_id: "e", input: "x".repeat(4 * MiB) })
    const { count, value } = counted(addressIn(text, text.length))
    assert.deepStrictEqual(value, { streamId: "a", eventId: "e" })
    assert.isAtLeast(count, 16)
  })
})

describe("A turn that continues a warm-up", () => {
  const written = (warmUp: unknown, asked: unknown) => {
    const { count, value } = counted(expanded(body(warmUp), body(asked)))
    return { count, said: value === undefined ? undefined : (JSON.parse(Buffer.from(value).toString()) as unknown) }
  }
  const user = (content: string) => ({ role: "user", content })

  for (const [what, before, input, expected] of [
    ["of lists", [user("a")], [user("b")], [user("a"), user("b")]],
    ["of texts", "a", "b", [user("a"), user("b")]],
    ["of an empty list", [], [user("b")], [user("b")]],
    ["with an empty list", [user("a")], [], [user("a")]],
    ["of nothing", undefined, [user("b")], [user("b")]],
    ["with nothing", "a", undefined, [user("a")]],
    ["of two empty lists", [], [], []],
    ["of what is no list", { a: 1 }, [], undefined],
    ["with what is no list", [], 1, undefined],
  ] as const) {
    it(`says everything, ${what}`, () => {
      const { said } = written({ input: before }, { model: "m", input, previous_response_id: "r", store: false })
      assert.deepStrictEqual(said, expected === undefined ? undefined : { input: expected, model: "m", store: false })
    })
  }

  it("says it in steps, though its list is empty and long", () => {
    const spaces = parseRequestBody(utf8(`{"input":[${" ".repeat(4 * MiB)}],"model":"${"m".repeat(4 * MiB)}"}`))
    const { count, value } = counted(expanded(body({ input: "a" }), Result.getOrThrow(spaces)))
    assert.isAtMost(value?.length ?? Infinity, 4 * MiB + 100)
    assert.isAtLeast(count, 8)
  })
})

describe("A steer", () => {
  const asked = { type: "response.steer", previous_response_id: "r" }
  const event = { _tag: "Steer", streamId: undefined, eventId: "e", responseId: "r" } as const
  const inputIn = (text: string) => (JSON.parse(text) as { steer: { input: unknown } }).steer.input

  it("goes upstream in steps", () => {
    const { count, value } = counted(steerFrame(body({ ...asked, input: "x".repeat(4 * MiB), event_id: "e" })))
    assert.isAtLeast(count, 4)
    assert.notInclude(Buffer.from(value.subarray(0, 200)).toString(), "event_id")
  })

  for (const [input, repeated] of [
    ["x", "x"],
    [[{ role: "user", content: "x" }], [{ role: "user", content: "x" }]],
    [undefined, null],
    ["x".repeat(MiB - 2), "x".repeat(MiB - 2)],
    ["x".repeat(MiB - 1), null],
    ["x".repeat(8 * MiB), null],
  ] as const) {
    it(`that fails repeats its input unless it is large: ${JSON.stringify(input)?.length} bytes`, () => {
      const failed = steerFailed("response_not_found", body({ ...asked, input }), event, undefined)
      assert.deepStrictEqual(inputIn(failed), repeated)
    })
  }
})
