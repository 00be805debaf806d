import { assert, describe, it } from "@effect/vitest"
import { OutputCollector } from "../../../src/turn/attempt/OutputCollector.ts"
import { leftOut, saying } from "../../support/ByName.ts"

const why = leftOut(import.meta.url, "some of its items have 64 MiB")

const finished = (collector: OutputCollector, frame: string) => {
  const finish = collector.finish("response.completed", frame)
  if (finish === undefined) throw new Error("no response was found")
  return { frame: finish.frame, end: finish.end }
}

describe("OutputCollector", () => {
  const done = (index: number, item: string) =>
    `{"type":"response.output_item.done","output_index":${index},"item":${item}}`
  const last = `{"type":"response.completed","response":{"id":"resp_1","output":[]}}`
  const collected = (items: Iterable<string>) => {
    const collector = new OutputCollector()
    for (const item of items) collector.add("response.output_item.done", item)
    return finished(collector, last)
  }
  const many = (count: number) => Array.from({ length: count }, (_, i) => done(i, "{}"))
  const nothing = { frame: last, end: { type: "response.completed", responseId: undefined, output: [] } }

  it("keeps ten thousand items, and of one more nothing", () => {
    const { end, frame } = collected(many(10_000))
    assert.strictEqual(end.output.length, 10_000)
    assert.strictEqual(end.responseId, "resp_1")
    assert.include(frame, "{},{}")
    assert.deepStrictEqual(collected(many(10_001)), nothing)
  })

  it.skipIf(why !== undefined)(`keeps 64 MiB of items in UTF-8, and of one byte more nothing${saying(why)}`, () => {
    const other = (bytes: number) => done(1, `{"a":"${"x".repeat(bytes - 8)}"}`)
    const size = 32 * 1024 * 1024
    const half = done(0, `{"a":"${"é".repeat((size - 8) / 2)}"}`)
    // The second takes the first one's place, and its room as well.
    assert.strictEqual(collected([half, half, other(size)]).end.output.length, 2)
    assert.deepStrictEqual(collected([half, other(size + 1)]), nothing)
  })

  it("takes no part of an output that only the last event has for the whole of it", () => {
    const frame = (count: number) =>
      `{"type":"response.completed","response":{"id":"resp_1","output":[${Array(count).fill("{}").join(",")}]}}`
    const finish = (count: number) => finished(new OutputCollector(), frame(count)).end
    assert.strictEqual(finish(10_000).responseId, "resp_1")
    for (const count of [10_001, 100_000]) {
      assert.deepStrictEqual(finish(count), { type: "response.completed", responseId: undefined, output: [] })
    }
  })

  it("ends nothing with an event that is not whole, or holds no response", () => {
    const whole = `{"type":"response.completed","response":{"id":"resp_1","output":[]}}`
    assert.strictEqual(finished(new OutputCollector(), whole).end.responseId, "resp_1")
    for (const broken of [
      `{"type":"response.completed","response":{"id":"re}`,
      `{"type":"response.completed","response":{"id":"resp_1"},"sequence_number":}`,
      `{"type":"response.completed","response":{"id":"resp_1"}},oops}`,
      `{"type":"response.completed","response":[]}`,
      `{"type":"response.completed"}`,
    ]) {
      assert.isUndefined(new OutputCollector().finish("response.completed", broken), broken)
    }
  })

  const a = `{"id":"a","n":1.0}`
  const b = `{"id":"b"}`
  const c = `{"id":"c"}`
  const cases: ReadonlyArray<
    readonly [what: string, came: ReadonlyArray<string>, shown: ReadonlyArray<string>, whole: ReadonlyArray<string>]
  > = [
    ["misses all", [a, b], [], [a, b]],
    ["misses the last", [a, b], [a], [a, b]],
    ["misses the first", [a, b, c], [b, c], [a, b, c]],
    ["misses one in the middle", [a, b, c], [a, c], [a, b, c]],
    ["shows one as it became later", [a, b], [`{"id":"b","late":true}`], [a, `{"id":"b","late":true}`]],
    ["shows one that never finished", [a, b, c], [a, `{"id":"d"}`], [a, b, c, `{"id":"d"}`]],
    ["shows items without ids", [a, b], [`{}`], [a, b]],
    ["is whole", [a, b], [a, b], [a, b]],
    ["has more than came", [b], [a, b, c], [a, b, c]],
    ["has all of it", [], [a, b], [a, b]],
  ]
  for (const [what, came, shown, whole] of cases) {
    it(`gives the client and the memory all items where the last event ${what}`, () => {
      const collector = new OutputCollector()
      came.forEach((item, index) => collector.add("response.output_item.done", done(index, item)))
      const frame = (items: ReadonlyArray<string>) =>
        `{"type":"response.completed","response":{"id":"resp_1","output":[${items.join(",")}]}}`
      const finish = finished(collector, frame(shown))
      assert.strictEqual(finish.frame, frame(whole))
      assert.deepStrictEqual(finish.end.output, whole)
    })
  }
})
