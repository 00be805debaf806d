import { assert, describe, it } from "@effect/vitest"
import { checkpointOf } from "../../../src/turn/memory/Checkpoint.ts"
import { type Plan, plan } from "../../../src/turn/memory/Plan.ts"
import { digester, lineageFrom } from "../../support/Chain.ts"

const answer = ['{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"output_text","text":"a"}]}']
const asked = '{"role":"user","content":"a"}'
const next = `${asked},${answer[0]},{"role":"user","content":"b"}`

const body = (input: string, member: string) => `{${member === "" ? "" : `${member},`}"input":[${input}]}`

/** How the second turn is planned when a member was `before` in the first and is `after` now; empty: absent. */
const planned = (before: string, after: string): Plan => {
  const first = lineageFrom(body(asked, before))
  return plan(lineageFrom(body(next, after)), checkpointOf(first, "resp_1", answer, digester), "lenient")
}

const changed = { _tag: "Full", reason: "members_changed", fromItem: 0, previousResponseId: undefined } as const
const continued = { _tag: "Suffix", reason: "continued", previousResponseId: "resp_1", fromItem: 2 } as const

const decides: ReadonlyArray<readonly [name: string, before: string, after: string]> = [
  ["model", '"gpt-5.5"', '"gpt-5.5-mini"'],
  ["store", "true", "false"],
  ["prompt", '{"id":"pmpt_1","version":"1"}', '{"id":"pmpt_1","version":"2"}'],
  ["prompt", '{"id":"pmpt_1","variables":{"a":"b"}}', '{"id":"pmpt_1","variables":{"a":"c"}}'],
  ["truncation", '"auto"', '"disabled"'],
  [
    "context_management",
    '[{"type":"compaction","compact_threshold":1}]',
    '[{"type":"compaction","compact_threshold":2}]',
  ],
  ["include", '["reasoning.encrypted_content"]', "[]"],
]

const mayChange: ReadonlyArray<readonly [name: string, before: string, after: string]> = [
  ["instructions", '"be brief"', '"be long"'],
  ["tools", '[{"type":"web_search"}]', "[]"],
  ["tool_choice", '"auto"', '{"type":"function","name":"a"}'],
  ["parallel_tool_calls", "true", "false"],
  ["reasoning", '{"effort":"low"}', '{"effort":"high"}'],
  ["text", '{"verbosity":"low"}', '{"verbosity":"high"}'],
  ["temperature", "0", "1"],
  ["top_p", "0.5", "1"],
  ["top_logprobs", "0", "5"],
  ["max_output_tokens", "100", "200"],
  ["max_tool_calls", "1", "2"],
  ["service_tier", '"auto"', '"flex"'],
  ["metadata", '{"a":"b"}', '{"a":"c"}'],
  ["moderation", '{"a":1}', '{"a":2}'],
  ["prompt_cache_key", '"one"', '"two"'],
  ["prompt_cache_options", '{"a":1}', '{"a":2}'],
  ["prompt_cache_retention", '"in_memory"', '"24h"'],
  ["user", '"a"', '"b"'],
  ["safety_identifier", '"a"', '"b"'],
  ["client_metadata", '{"turn":"1"}', '{"turn":"2"}'],
  ["stream", "true", "false"],
  ["stream_options", '{"include_obfuscation":true}', '{"include_obfuscation":false}'],
  ["background", "true", "false"],
  ["background_options", '{"completion_window":"2h"}', '{"completion_window":"8h"}'],
  ["generate", "false", "true"],
  ["stream_id", '"a"', '"b"'],
  ["type", '"response.create"', '"other"'],
  ["a_member_of_next_year", "1", "2"],
]

describe("members of the request", () => {
  for (const [name, before, after] of decides) {
    const was = `"${name}":${before}`
    const is = `"${name}":${after}`

    it(`sends everything when ${name} is not ${before} any more`, () => {
      assert.deepStrictEqual(planned(was, is), changed)
      assert.deepStrictEqual(planned(was, ""), changed)
      assert.deepStrictEqual(planned("", was), changed)
    })

    it(`continues when ${name} stays ${before}, or null or absent`, () => {
      assert.deepStrictEqual(planned(was, was), continued)
      assert.deepStrictEqual(planned("", `"${name}":null`), continued)
      assert.deepStrictEqual(planned(`"${name}":null`, ""), continued)
      assert.deepStrictEqual(planned(`"${name}": null`, `"${name}":null`), continued)
    })
  }

  for (const [name, before, after] of mayChange) {
    it(`continues when ${name} changes, comes or goes`, () => {
      assert.deepStrictEqual(planned(`"${name}":${before}`, `"${name}":${after}`), continued)
      assert.deepStrictEqual(planned("", `"${name}":${after}`), continued)
      assert.deepStrictEqual(planned(`"${name}":${before}`, ""), continued)
    })
  }

  it("takes the same members in another order, and spelled otherwise, for the same", () => {
    assert.deepStrictEqual(
      planned(
        '"model":"a","prompt":{"id":"p","variables":{"x":"1","y":"2"}}',
        '"prompt" : {"variables":{"y":"2","x":"\\u0031"},"id":"p"},"mod\\u0065l":"a"',
      ),
      continued,
    )
  })

  it("does not take one member's value for another's", () => {
    assert.deepStrictEqual(planned('"truncation":"auto"', '"model":"auto"'), changed)
    assert.deepStrictEqual(planned('"store":"a","prompt":null', '"store":null,"prompt":"a"'), changed)
  })

  it("never chains a request that keeps its state in a conversation", () => {
    const bound = { _tag: "Full", reason: "conversation_bound", fromItem: 0, previousResponseId: undefined } as const
    for (const value of ['"conv_1"', '{"id":"conv_1"}']) {
      const member = `"conversation":${value}`
      assert.deepStrictEqual(planned(member, member), bound)
      assert.deepStrictEqual(planned('"conversation":null', member), bound)
      assert.deepStrictEqual(planned(member, '"conversation":null'), changed)
    }
  })

  it("leaves the order of a list in it alone", () => {
    assert.deepStrictEqual(planned('"include":["a","b"]', '"include":["b","a"]'), changed)
  })

  it("names the edit before the members when both have changed", () => {
    const checkpoint = checkpointOf(
      lineageFrom(body('{"role":"user","content":"x"}', '"model":"a"')),
      "resp_1",
      answer,
      digester,
    )
    assert.strictEqual(plan(lineageFrom(body(next, '"model":"b"')), checkpoint, "lenient").reason, "history_changed")
  })
})
