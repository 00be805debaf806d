import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { doneItem, eventType, isLifecycle, isTerminal, responseText, textAt, toSse } from "../../src/wire/Event.ts"
import { Choices, drawObject, numbers, spell } from "../support/JsonTexts.ts"
import { runs } from "../support/Runs.ts"

const tryParse = (text: string): unknown => Result.getOrUndefined(Result.try(() => JSON.parse(text) as unknown))

describe("eventType", () => {
  it("reads a type wherever and however it is written", () => {
    for (const frame of [
      '{"type":"response.created","a":1}',
      '{"type":"response.created"}',
      '{"type":"response.created" ,"a":1} ',
      '{ "type" : "response.created" }',
      '{"a":{"type":"x"},"type":"response.created"}',
      '{"type":"response.cre\\u0061ted"}',
      '{"\\u0074ype":"response.created"}',
      '\n{"type":"response.created"}\n',
    ]) {
      assert.strictEqual(eventType(frame), "response.created", frame)
    }
    assert.strictEqual(eventType('{"type":"a b"}'), "a b")
    assert.strictEqual(eventType('{"type":""}'), "")
  })

  it("reads each of many as if it were alone, whatever came before", () => {
    const long = "x".repeat(5000)
    for (let round = 0; round < 2; round++) {
      assert.strictEqual(eventType('{"type":"ab","delta":"1"}'), "ab")
      assert.strictEqual(eventType('{"type":"ab","delta":"2"}'), "ab")
      assert.strictEqual(eventType('{"type":"a","delta":"2"}'), "a")
      assert.strictEqual(eventType('{"type":"ab"}'), "ab")
      assert.strictEqual(eventType('{"type":"ab.c","delta":"3"}'), "ab.c")
      assert.strictEqual(eventType(`{"type":"${round}","delta":"${long}"}`), `${round}`)
      assert.strictEqual(eventType('{"type":"ab","delta":"4"}'), "ab")
      assert.isUndefined(eventType('{"type":"ab","delta":"4"'))
      assert.isUndefined(eventType('{"type":"ab"'))
    }
  })

  it("knows what is no event", () => {
    for (const frame of [
      "",
      "x",
      "null",
      "1",
      "[]",
      '"type"',
      '{"type":1}',
      '{"type":null}',
      '{"a":"type"}',
      '{"type":"a',
      '{"type":"ab"',
      '{"type":"ab"x}',
      '{"type":"ab","x":1',
      '{"type":"a"]',
      '{"type":"a\nb"}',
      '[{"type":"a"}]',
    ]) {
      assert.isUndefined(eventType(frame), frame)
    }
  })

  it.prop(
    "agrees with JSON.parse",
    [numbers],
    ([drawn]) => {
      const choices = new Choices(drawn)
      const members = drawObject(choices).members.filter(([name]) => name !== "type")
      const type = {
        _tag: "Text",
        value: choices.of(["error", "response.output_text.delta", "a\n", "é", '"', ""]),
      } as const
      const frame = spell(
        { _tag: "Object", members: members.toSpliced(choices.below(members.length + 1), 0, ["type", type]) },
        choices,
      )
      assert.strictEqual(eventType(frame), type.value)
    },
    { arbitrary: { runs: runs(500), size: 80 } },
  )
})

describe("kinds of events", () => {
  it("ends a turn with the terminal ones only", () => {
    for (const type of [
      "response.completed",
      "response.failed",
      "response.incomplete",
      "response.cancelled",
      "error",
    ]) {
      assert.isTrue(isTerminal(type), type)
      assert.isFalse(isLifecycle(type), type)
    }
    for (const type of [
      "response.created",
      "response.output_item.done",
      "response.web_search_call.completed",
      "response.error",
      "",
    ]) {
      assert.isFalse(isTerminal(type), type)
    }
  })

  it("sees no answer in lifecycle events", () => {
    for (const type of [
      "response.created",
      "response.queued",
      "response.in_progress",
      "response.metadata",
      "codex.rate_limits",
      "codex.response.metadata",
      "keepalive",
      "responsesapi.websocket_timing",
    ]) {
      assert.isTrue(isLifecycle(type), type)
    }
    for (const type of [
      "response.output_item.added",
      "response.web_search_call.in_progress",
      "response.output_text.delta",
      "codexx",
    ]) {
      assert.isFalse(isLifecycle(type), type)
    }
  })
})

describe("toSse", () => {
  it("frames an event", () => {
    assert.strictEqual(toSse("a.b", '{"type":"a.b"}'), 'event: a.b\ndata: {"type":"a.b"}\n\n')
  })

  it("makes one line of a frame with line ends, saying the same", () => {
    const frame = '{\r\n"type":"x",\n"n":[1,\r2],"s":"\\n\u2028"\n}'
    const sse = toSse("x", frame)
    const [event, data, ...rest] = sse.split(/\r\n|\r|\n/)
    assert.strictEqual(event, "event: x")
    assert.deepStrictEqual(rest, ["", ""])
    assert.deepStrictEqual(tryParse(data?.slice("data: ".length) ?? ""), tryParse(frame))
  })

  it("knows a lone carriage return for a line end", () => {
    assert.strictEqual(toSse("x", '{"type":\r"x"}'), 'event: x\ndata: {"type": "x"}\n\n')
  })

  it("lets no type begin a line of its own", () => {
    assert.strictEqual(toSse("a\ndata: x\r\rb", "{}"), "event: a data: x b\ndata: {}\n\n")
  })
})

describe("parts of events", () => {
  const done =
    '{"type":"response.output_item.done","output_index":12,"item":{ "id":"fc_é", "n":9007199254740993,"s":"\\u00e9" },"sequence_number":3}'

  it("gives a finished item as it is written, with its place", () => {
    assert.deepStrictEqual(doneItem(done), {
      item: '{ "id":"fc_é", "n":9007199254740993,"s":"\\u00e9" }',
      outputIndex: 12,
    })
  })

  it("takes the last of a name that appears twice, as JSON.parse does", () => {
    assert.strictEqual(textAt('{"a":1,"\\u0061":2}', ["a"]), "2")
    assert.deepStrictEqual(doneItem('{"item":{},"output_index":0,"item":{"a":1},"output_index":1}'), {
      item: '{"a":1}',
      outputIndex: 1,
    })
  })

  it("gives no item without its place", () => {
    for (const frame of [
      '{"item":{}}',
      '{"output_index":0}',
      '{"item":{},"output_index":"0"}',
      '{"item":{},"output_index":-1}',
      '{"item":{},"output_index":null}',
      '{"item":{},"output_index":0.5}',
      '{"item":null,"output_index":0}',
      '{"item":{},"output_index":0',
      "[]",
    ]) {
      assert.isUndefined(doneItem(frame), frame)
    }
  })

  it("gives the response", () => {
    const frame = '{"type":"response.completed","response":{"object":"response", "id":"resp_\\u0031","output":[1.0]}}'
    assert.strictEqual(responseText(frame), '{"object":"response", "id":"resp_\\u0031","output":[1.0]}')
    assert.strictEqual(textAt(frame, ["response", "output"]), "[1.0]")
    assert.isUndefined(textAt(frame, ["response", "output", "x"]))
    assert.isUndefined(responseText("{"))
  })
})
