import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { lineageInSteps } from "../../src/turn/memory/Lineage.ts"
import { scanInSteps, scanObject, type Span } from "../../src/wire/Json.ts"
import { frameInSteps, withMembersInSteps } from "../../src/wire/Frame.ts"
import { bodyInSteps, parseRequestBody, type RequestBody } from "../../src/wire/RequestBody.ts"
import { atOnce, type Steps, stepSize } from "../../src/wire/Steps.ts"
import { utf8 } from "../support/Bytes.ts"
import { digester } from "../support/Chain.ts"
import { Choices, drawBody, numbers, spell } from "../support/JsonTexts.ts"
import { runs } from "../support/Runs.ts"

const counted = <A>(steps: Steps<A>) => {
  for (let count = 1; ; count++) {
    const { done, value } = steps.next()
    if (done === true) return { count, value }
  }
}

const scanned = (bytes: Uint8Array, step: number, known?: Parameters<typeof scanObject>[1]) => {
  const long: Array<Span> = []
  return { result: counted(scanInSteps(bytes, { elementsOf: "input", ...known, long }, step)).value, long }
}

const size = 4 * stepSize
const filled = (unit: string, bytes = size) => unit.repeat(Math.ceil(bytes / unit.length))
const listed = (one: string, bytes = size) => `${filled(`${one},`, bytes)}${one}`
const named = (name: (index: number) => string, count: number) =>
  Array.from({ length: count }, (_, index) => `"${name(index)}":1`).join(",")

/** Bodies of one step's bytes some times over, each of another kind, and whether it is worth to look into them. */
const bodies: ReadonlyArray<readonly [what: string, body: string, isCostly: boolean]> = [
  [
    "lone surrogates in arguments",
    `{"input":[{"type":"function_call","call_id":"c","arguments":"${filled("\\ud800")}"}]}`,
    false,
  ],
  [
    "lone surrogates in arguments, twice escaped",
    `{"input":[{"type":"function_call","arguments":"[\\"${filled("\\\\ud800")}\\"]"}]}`,
    false,
  ],
  [
    "numbers in arguments",
    `{"input":[{"type":"function_call","call_id":"c","arguments":"[${listed("1.0")}]"}]}`,
    false,
  ],
  [
    "calls with numbers",
    `{"input":[${listed(`{"type":"function_call","call_id":"c","arguments":"[1e1,1.0]"}`)}]}`,
    false,
  ],
  ["numbers in an item", `{"input":[{"type":"x","of":[${listed("1.0", 2 * size)}]}]}`, true],
  ["escaped names", `{"input":"x","metadata":{${named((index) => `\\u0061${index}`, 60_000)}}}`, false],
  ["escaped names in an item", `{"input":[{"type":"x","of":{${named((index) => `\\u0061${index}`, 60_000)}}}]}`, true],
  ["65,500 items", `{"input":[${filled("{},", 3 * 65_499)}{}]}`, false],
  ["65,500 messages", `{"input":[${filled(`{"role":"user","content":"x"},`, 29 * 65_499)}1]}`, false],
  ["too many items", `{"input":[${listed("1", 2 * size)}]}`, true],
  ["plain text", `{"input":[{"role":"user","content":"${filled("hello ")}"}]}`, false],
  ["plain text as the input", `{"input":"${filled("hello ")}"}`, false],
  ["text of other scripts", `{"input":[{"role":"user","content":"${filled("漢é")}"}]}`, false],
  ["escaped text", `{"input":[{"role":"user","content":"${filled("\\u00e9\\n")}"}]}`, false],
  ["one number", `{"input":[${filled("1", 2 * size)}]}`, true],
  ["a fraction", `{"input":[1.${filled("1", 2 * size)}]}`, true],
  ["an exponent", `{"input":[1e${filled("1", 2 * size)}]}`, true],
  ["white space", `{"input":[1${filled(" ")}]}`, false],
  ["white space in an item", `{"input":[{"type":"x"${filled(" ", 2 * size)}}]}`, true],
  ["a name", `{"input":"x","${filled("\\u0061")}":1}`, false],
  ["a name in an item", `{"input":[{"${filled("a", 2 * size)}":1}]}`, true],
  ["a member that decides", `{"input":"x","prompt":{"id":[${listed("1", 2 * size)}]}}`, true],
  ["brackets", `{"input":[${listed(`${"[".repeat(500)}${"]".repeat(500)}`)}]}`, false],
  ["parts of a message", `{"input":[{"role":"user","content":[${listed("{}", 2 * size)}]}]}`, true],
]

const read = (body: string) => {
  const { count, value } = counted(bodyInSteps(utf8(body)))
  return { count, body: Result.getOrThrow(value) }
}

describe("A large body", () => {
  it("is read in steps, whatever it holds, and nothing of it costs more than it is worth", () => {
    for (const [what, text, isCostly] of bodies) {
      const { body, count } = read(text)
      const steps = text.length / stepSize
      assert.isAtLeast(count, Math.floor(steps), what)
      const lineage = counted(lineageInSteps(body, digester))
      assert.strictEqual(lineage.value.costly, isCostly, what)
      assert.strictEqual(lineage.value.comparable, !isCostly, what)
      // Each long string is read in steps, and so are many items.
      const read1 = body.long.reduce((sum, { end, start }) => sum + end - start, 0)
      if (!isCostly)
        assert.isAtLeast(lineage.count, Math.floor((read1 + (body.items?.length ?? 0) * 1024) / stepSize), what)
    }
  })

  it("is copied into a message, and into a body with other members, in steps of 1 MiB", () => {
    const texts = ["a".repeat(5 << 20), "b".repeat(3 << 20), ...Array<string>(900).fill("c".repeat(10_000))]
    const text = `{"model":"m","input":[${JSON.stringify({ role: "user", content: texts[0] })},1],${texts
      .slice(1)
      .map((value, index) => `"m${index}":"${value}"`)
      .join()}}`
    const { body } = read(text)
    const set = new Map([["store", "false"]])
    for (const [what, steps, size] of [
      ["whole", frameInSteps(body, { fromItem: 0, set }), text.length],
      ["a suffix", frameInSteps(body, { fromItem: 1, set }), text.length - (5 << 20)],
      ["other members", withMembersInSteps(body, set), text.length],
    ] as const) {
      const { count, value } = counted(steps)
      assert.isAbove(value.length, size - 100, what)
      assert.isAtLeast(count, Math.floor(value.length / (1 << 20)), what)
      assert.strictEqual(
        Result.getOrThrow(parseRequestBody(value)).members.size,
        body.members.size + (what === "other members" ? 1 : 2),
        what,
      )
    }
    const small = read(`{"model":"m","input":"x","store":true}`).body
    assert.deepStrictEqual(
      [counted(frameInSteps(small, { fromItem: 0, set })), counted(withMembersInSteps(small, set))].map(
        ({ count, value }) => [count, Buffer.from(value).toString()],
      ),
      [
        [1, `{"type":"response.create","store":false,"model":"m","input":"x"}`],
        [1, `{"store":false,"model":"m","input":"x"}`],
      ],
    )
  })

  it("is read as one that is small is, in a single step", () => {
    const small = `{"model":"m","input":[{"role":"user","content":"${"x".repeat(10_000)}"}],"store":false}`
    const { body, count } = read(small)
    assert.strictEqual(count, 1)
    assert.strictEqual(counted(lineageInSteps(body, digester)).count, 1)
  })

  it.prop(
    "is scanned the same wherever a step ends, right or wrong",
    [numbers, numbers],
    ([drawn, spelled]) => {
      const right = utf8(spell(drawBody(new Choices(drawn)), new Choices(spelled)))
      const at = (drawn[0] ?? 0) % right.length
      const cut = right.slice(0, at)
      const changed = right.slice()
      changed[at] = 0x2c + ((spelled[0] ?? 0) % 80)
      for (const bytes of [right, cut, changed, utf8(`{"n":[-10.25e+10,0,0.5,-0,1E9],"s":"\\u00e9\\\\é\\"漢"}`)]) {
        const whole: Array<Span> = []
        const expected = scanObject(bytes, { elementsOf: "input", long: whole })
        for (const step of [1, 2, 7]) {
          const { long, result } = scanned(bytes, step)
          if (Result.isFailure(expected) && Result.isFailure(result)) {
            // Where a text is wrong in two ways, either may be told.
            if (expected.failure.reason !== "invalid_utf8") assert.deepStrictEqual(result.failure, expected.failure)
          } else assert.deepStrictEqual(result, expected)
          assert.deepStrictEqual(long, whole)
        }
      }
    },
    { arbitrary: { runs: runs(3_000, 100) } },
  )
})

describe("What a body holds in memory", () => {
  const lineageIn = (body: RequestBody, most: number) => {
    const told: Array<number> = []
    const room = (bytes: number) => {
      told.push(bytes)
      return bytes <= most
    }
    return { lineage: atOnce(lineageInSteps(body, digester, { room })), told }
  }

  it("is counted for each item and part, and not looked into where there is no room", () => {
    // As was measured: 345 bytes for an item, 685 for a message.
    for (const [what, item, each] of [
      ["nothing", "{}", 384],
      ["a number", "1", 384],
      ["a message", `{"role":"user","content":"x"}`, 384 + 256 + 64],
      ["a message of parts", `{"role":"user","content":[${listed("{}", 3_000)}]}`, 384 + 256 + 64 * 1001],
      ["a call", `{"type":"function_call","call_id":"c","arguments":"{}"}`, 384],
      ["a long id", `{"type":"x","id":"${"i".repeat(50_000)}"}`, 384 + 50_000],
      ["a long phase", `{"role":"user","phase":"${"p".repeat(50_000)}","content":"x"}`, 384 + 256 + 64 + 50_000],
      ["reasoning", `{"type":"reasoning","summary":[]}`, 384],
    ] as const) {
      const { body } = read(`{"input":[${Array(20).fill(item).join(",")}]}`)
      const { lineage, told } = lineageIn(body, Infinity)
      assert.isFalse(lineage.costly, what)
      assert.strictEqual(told.at(-1), 20 * each, what)
      for (const most of [0, 20 * each - 1]) {
        const { lineage } = lineageIn(body, most)
        assert.isTrue(lineage.costly, what)
        assert.deepStrictEqual([lineage.comparable, lineage.items.length, lineage.prefixes.length], [false, 0, 1], what)
      }
    }
  })
})
