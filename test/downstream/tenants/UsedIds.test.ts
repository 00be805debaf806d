import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { Finding } from "../../../src/downstream/tenants/UsedIds.ts"
import { findIn } from "../../../src/downstream/tenants/UsedIds.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import { utf8 } from "../../support/Bytes.ts"
import { makeRandom } from "../../support/Random.ts"
import { runs } from "../../support/Runs.ts"

const hex = "0123456789abcdef0123456789abcdef0123456789abcdef01"
/** Made for another, for the caller, and for nobody that is known. */
const theirs = `resp_a${hex.slice(1)}`
const mine = `resp_b${hex.slice(1)}`
const unknown = `resp_c${hex.slice(1)}`

const rights = {
  mayUse: (id: string) => id === mine,
  isForeign: (id: string) => id === theirs || id === "odd:theirs=",
  hasOdd: true,
}

/** What is found, and after how many pauses. */
const scan = (text: string): { readonly found: Finding | undefined; readonly pauses: number } => {
  const steps = findIn(Result.getOrThrow(parseRequestBody(utf8(text))), rights)
  for (let pauses = 0; ; pauses++) {
    const step = steps.next()
    if (step.done === true) return { found: step.value, pauses }
  }
}

const idIn = (text: string): string | undefined => {
  const { found } = scan(text)
  if (found?._tag === "Duplicate") throw new Error(`a duplicate in ${found.param}`)
  return found?.id
}

const escaped = (text: string) =>
  [...text].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")
const percent = (text: string) => [...text].map((char) => `%${char.charCodeAt(0).toString(16)}`).join("")
const json = JSON.stringify
const call = (args: string) => `{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":${json(args)}}]}`

describe("An id that was made for another", () => {
  /** Whole bodies with it. */
  const places: ReadonlyArray<readonly [place: string, body: (id: string) => string]> = [
    ["fileId", (id) => `{"input":[{"role":"user","content":[{"type":"input_file","fileId":"${id}"}]}]}`],
    ["FILE_ID", (id) => `{"input":[{"role":"user","content":[{"type":"input_file","FILE_ID":"${id}"}]}]}`],
    ["containers", (id) => `{"containers":["${id}"]}`],
    ["containers of a tool", (id) => `{"tools":[{"type":"code_interpreter","containers":[{"a":"${id}"}]}]}`],
    ["fork_from", (id) => `{"fork_from":"${id}"}`],
    ["forkFrom, in an object", (id) => `{"x":{"forkFrom":{"response":"${id}"}}}`],
    ["Container-ID", (id) => `{"tools":[{"Container-ID":"${id}"}]}`],
    ["a name nobody knows", (id) => `{"xyz":"${id}"}`],
    ["a value deep down", (id) => `{"a":[[{"b":[{"c":{"d":["x","${id}"]}}]}]]}`],
    ["a name of a member", (id) => `{"tools":[{"containers":{"${id}":{}}}]}`],
    ["a name at the top", (id) => `{"${id}":1}`],
    ["a long name", (id) => `{"a":{"${"x ".repeat(40_000)}${id}":1}}`],
    ["a long name at the top", (id) => `{"${"x ".repeat(40_000)}${id}":1}`],
    ["a name in metadata", (id) => `{"metadata":{"${id}":"x"}}`],
    ["metadata", (id) => `{"metadata":{"response":"${id}"}}`],
    ["a client's metadata", (id) => `{"client_metadata":{"x":"${id}"}}`],
    ["prompt_cache_key", (id) => `{"prompt_cache_key":"${id}"}`],
    [
      "an id of an annotation",
      (id) => `{"input":[{"role":"assistant","content":[{"annotations":[{"file_id":"${id}"}]}]}]}`,
    ],
    ["a call's id", (id) => `{"input":[{"type":"function_call_output","call_id":"${id}","output":"x"}]}`],
    ["arguments that are JSON", (id) => call(json({ container_id: id }))],
    ["a name in arguments", (id) => call(json({ [id]: 1 }))],
    ["arguments, JSON in JSON", (id) => call(json({ a: json({ b: json([id]) }) }))],
    ["arguments, with escapes", (id) => call(`{"a":"${escaped(id)}"}`)],
    ["arguments, with blanks before", (id) => call(` \n\t{"a":"${id}"}`)],
    ["arguments, with escapes in JSON in JSON", (id) => call(json({ a: `{"b":"${escaped(id)}"}` }))],
    ["arguments, one string", (id) => call(json(id))],
    ["long arguments", (id) => call(json({ a: "x y ".repeat(60_000), id }))],
    ["arguments, between two windows", (id) => call(`["${"-".repeat(65_536 - 20)}","${id}"]`)],
    ["input that is JSON", (id) => json({ input: json([{ type: "item_reference", id }]) })],
    ["a tool that is JSON", (id) => json({ tools: [json({ type: "code_interpreter", container: id })] })],
    ["a list in a text", (id) => json({ anything: `a,${id};b` })],
    ["signs around it", (id) => json({ xyz: `<${id}>` })],
    ["blanks around it", (id) => json({ xyz: ` ${id}\n` })],
    ["an address", (id) => json({ file_url: `https://api.openai.com/v1/files/${id}/content?x=y` })],
    ["an address with percent signs", (id) => json({ file_url: `https://a/${percent(id)}` })],
    ["percent signs twice", (id) => json({ xyz: percent(percent(id)) })],
    ["escapes", (id) => `{"xyz":"${escaped(id)}"}`],
    ["a long text of no kind", (id) => json({ xyz: `${"x ".repeat(40_000)}${id}` })],
    ["a text of no kind with escapes", (id) => `{"xyz":"${"\\u0078 ".repeat(400)}${escaped(id)}"}`],
    ["an item's id", (id) => `{"input":[{"role":"user","content":"x","id":"${id}"}]}`],
    ["an item in a list in a list", (id) => `{"input":[[{"type":"item_reference","id":"${id}"}]]}`],
    ["behind an item's other members", (id) => `{"input":[{"content":"x","role":"user","y":{"z":"${id}"}}]}`],
    ["a list of words", (id) => `{"input":["${id}"]}`],
    ["a schema", (id) => `{"tools":[{"parameters":{"properties":{"a":{"enum":["${id}"]}}}}]}`],
    ["headers of a tool", (id) => `{"tools":[{"type":"mcp","headers":{"x":"${id}"}}]}`],
  ]

  for (const [place, body] of places) {
    it(`is found as ${place}, where the caller's own passes`, () => {
      assert.strictEqual(idIn(body(theirs)), theirs)
      assert.isUndefined(idIn(body(mine)))
    })
  }

  it("is found if it is made of other signs", () => {
    for (const body of [{ id: "odd:theirs=" }, { x: "a odd:theirs= b" }, { x: json({ y: ["odd:theirs="] }) }]) {
      assert.strictEqual(idIn(json(body)), "odd:theirs=")
    }
  })

  it("is mentioned in words for the model, which ask for nothing", () => {
    const mention = `What became of ${theirs}?`
    const bodies: ReadonlyArray<unknown> = [
      { input: mention },
      { input: theirs },
      { instructions: mention },
      { input: [{ role: "user", content: mention }] },
      { input: [{ role: "user", content: theirs }] },
      { input: [{ role: "user", content: [{ type: "input_text", text: mention }] }] },
      { input: [{ role: "user", content: [{ type: "input_text", text: json({ id: theirs }) }] }] },
      { input: [{ type: "function_call_output", call_id: "c", output: mention }] },
      { input: [{ type: "function_call_output", call_id: "c", output: json({ id: theirs }) }] },
      { input: [{ type: "function_call", call_id: "c", name: "sh", arguments: json({ run: `grep ${theirs} log` }) }] },
      { input: [{ type: "custom_tool_call", call_id: "c", name: "sh", input: mention }] },
      { input: [{ type: "shell_call_output", call_id: "c", output: [{ stdout: mention, stderr: theirs }] }] },
      { input: [{ type: "reasoning", id: mine, summary: [{ type: "summary_text", text: mention }] }] },
      { tools: [{ type: "function", name: "f", description: mention }] },
    ]
    for (const body of bodies) assert.isUndefined(idIn(json(body)), json(body))
  })

  it("is found in every body that holds it outside of words, however it is made", () => {
    const random = makeRandom(20_261_127)
    const names = ["a", "content", "text", "fileId", "container", "tools", "input", "arguments", "output", "metadata"]
    const words = new Set(["content", "text", "output"])
    const one = <A>(list: ReadonlyArray<A>): A => list[random(list.length)] as A
    const spelled = (id: string) =>
      one([id, ` ${id}`, `x/${id}/y`, percent(id), json([id]), json({ [id]: 1 }), json(json({ id }))])
    for (let run = 0; run < runs(20_000); run++) {
      let value: unknown = spelled(theirs)
      let name: string | undefined
      for (let depth = random(6); depth >= 0; depth--) {
        const isList = name !== undefined && random(5) < 2
        if (isList) value = random(2) === 0 ? [value] : [1, "x", value, {}]
        else {
          const next = one(names)
          // Arguments and input are words where they are no JSON, and the innermost name says what a text is.
          const isWord = typeof value === "string" || Array.isArray(value)
          name = isWord && (words.has(next) || next === "arguments" || next === "input") ? "a" : next
          value = { ...(random(2) === 0 ? { first: null, second: ["x"] } : {}), [name]: value }
        }
      }
      const body = json({ model: "m", [one(["x", "input", "tools", "metadata"])]: value })
      assert.strictEqual(scan(body).found?._tag, "Id", body)
    }
  })
})

describe("An id that nobody has a record of", () => {
  const refused: ReadonlyArray<unknown> = [
    { previous_response_id: unknown },
    { previous_response_id: "x" },
    { previous_response_id: { id: "x" } },
    { PreviousResponseId: "x" },
    { conversation: "x" },
    { conversation: { id: ["x"] } },
    { response_id: "x" },
    { input: [{ type: "item_reference", id: "x" }] },
    { input: [{ id: "x" }] },
    { input: { id: "x" } },
    { input: [[{ id: "x" }]] },
    { input: [{ id: "x", type: null, role: null, content: null }] },
    { input: [{ type: "message", role: "user", id: "x" }] },
    { input: [{ type: "message", role: "user", id: "x", content: [] }] },
    { input: [{ type: "reasoning", id: "x", summary: [] }] },
    { input: [{ type: "reasoning", id: "x", summary: [], encrypted_content: null }] },
    { input: [{ type: "reasoning", id: "x", summary: [], encrypted_content: "" }] },
    { input: [{ type: "compaction", id: "x" }] },
    { input: [{ type: "image_generation_call", id: "x" }] },
    { input: [{ type: "web_search_call", id: "x", status: "completed", action: { type: "search", query: "q" } }] },
    { input: [{ type: "code_interpreter_call", id: "x", code: "1" }] },
    { input: [{ type: "of_next_year", id: "x" }] },
    { input: [{ type: "code_interpreter_call", container_id: "x" }] },
    { input: [{ type: "mcp_approval_response", approval_request_id: "x", approve: true }] },
    { input: [{ role: "user", content: [{ type: "input_file", file_id: "x" }] }] },
    { input: [{ role: "user", content: [{ type: "input_image", fileId: "x" }] }] },
    { input: [{ type: "function_call_output", call_id: "c", output: [{ type: "input_file", file_id: "x" }] }] },
    { tools: [{ type: "code_interpreter", container: "x" }] },
    { tools: [{ type: "code_interpreter", container: { type: "auto", file_ids: ["x"] } }] },
    { tools: [{ type: "code_interpreter", containers: [{ id: "x" }] }] },
    { tools: [{ type: "shell", environment: { type: "container_reference", container_id: "x" } }] },
    { tools: [{ type: "file_search", vector_store_ids: ["x"] }] },
    { tools: [{ type: "shell", environment: { skills: [{ type: "skill_reference", skill_id: "skill_x" }] } }] },
    { prompt: { id: "x" } },
    { prompt: "x" },
    { prompt: { id: mine, variables: { a: { type: "input_file", file_id: "x" } } } },
    { fork_from: "x" },
    { conversation: json({ id: mine }) },
    { previous_response_id: ` ${mine}` },
    { tools: [{ vector_stores: `${mine},x` }] },
    { previous_response_id: "x".repeat(5_000) },
    { input: [{ type: "item_reference", id: "x".repeat(5_000) }] },
    { input: [{ type: "image_generation_call", id: "é\n".repeat(5_000) }] },
    { anything: unknown },
    { tools: [{ anything: `file-${hex}` }] },
    { ["__proto__"]: { containers: "x" } },
  ]

  it("fetches nothing", () => {
    for (const body of refused) assert.isDefined(idIn(json(body)), json(body))
  })

  it("does no harm where nothing is fetched by it", () => {
    const passing: ReadonlyArray<unknown> = [
      { model: "gpt-5.5", input: "x" },
      { input: unknown },
      { metadata: { response_id: unknown, file_id: "x" } },
      { client_metadata: { thread_id: "x", conversation: unknown } },
      { prompt_cache_key: `conv_${hex}`, user: `user_${hex}`, safety_identifier: `thread_${hex}` },
      { input: [{ type: "message", id: "msg_0190", role: "user", content: [{ type: "input_text", text: "x" }] }] },
      { input: [{ id: "x", role: "user", content: "hi" }] },
      { input: [{ type: "function_call", id: "fc_x", call_id: "c", name: "f", arguments: "{}" }] },
      { input: [{ type: "function_call_output", id: "fco_x", call_id: `call_${hex}`, output: "x" }] },
      { input: [{ type: "custom_tool_call_output", id: "ctco_x", call_id: "c", output: "x" }] },
      { input: [{ type: "reasoning", id: "rs_x", summary: [], content: null, encrypted_content: "gAAA" }] },
      { input: [{ type: "compaction", id: "cmp_x", encrypted_content: "gAAA" }] },
      { input: [{ type: "compaction_trigger", id: "x" }] },
      {
        input: [{ role: "assistant", content: [{ type: "output_text", text: "x", annotations: [{ file_id: "x" }] }] }],
      },
      { input: [{ type: "file_search_call", id: mine, results: [{ file_id: `file-${hex}`, text: "x" }] }] },
      { input: [{ type: "computer_call", call_id: "c", id: "cu_x", pending_safety_checks: [{ id: "sc_x" }] }] },
      { tools: [{ type: "function", name: "f", parameters: { properties: { id: {}, file_id: { const: "x" } } } }] },
      { tools: [{ type: "mcp", connector_id: "connector_gmail", headers: { "x-file-id": "x" } }] },
      { tools: [{ type: "code_interpreter", container: { type: "auto", memory_limit: "4g" } }] },
      { tools: [{ type: "shell", environment: { skills: [{ skill_id: "openai-spreadsheets" }] } }] },
      { prompt: { id: mine, version: "2", variables: { container_id: "x", user_id: "x" } } },
      { previous_response_id: null, conversation: null },
      { previous_response_id: "", conversation: {} },
      { previous_response_id: mine, input: [] },
      { background_options: { continuation_id: "x" } },
      { text: { format: { type: "json_schema", schema: { properties: { conversation: { const: "x" } } } } } },
      {
        input: [
          {
            role: "user",
            content: [{ type: "input_image", image_url: `data:image/png;base64,${"+".repeat(2_000)}${theirs}` }],
          },
        ],
      },
    ]
    for (const body of passing) assert.isUndefined(idIn(json(body)), json(body))
  })
})

describe("A member that stands twice", () => {
  it("is found at every depth and in every spelling, before anything else", () => {
    const bodies = [
      `{"a":{"x":1,"x":2}}`,
      `{"a":{"x":1,"\\u0078":2}}`,
      `{"a":{"${"x".repeat(80_000)}":1,"\\u0078${"x".repeat(79_999)}":2}}`,
      `{"a":[[{"b":{"c":1,"d":{"c":1},"c":2}}]]}`,
      `{"previous_response_id":"theirs","a":[{"x":[],"x":[]}]}`,
      `{"metadata":{"a":"1","a":"2"}}`,
      `{"input":[{"id":"${theirs}","id":"${mine}"}]}`,
      `{"a":{${Array.from({ length: 65_537 }, (_, index) => `"k${index}":1`).join()}}}`,
    ]
    for (const body of bodies) assert.strictEqual(scan(body).found?._tag, "Duplicate", body.slice(0, 80))
    for (const body of [
      `{"a":[{"x":1},{"x":1}],"b":{"x":{"x":1}}}`,
      `{"x":1,"y":{"x":{"y":1}}}`,
      `{"a":{"${"x".repeat(80_000)}":1,"${"x".repeat(79_999)}y":2}}`,
      `{"a":{"__proto__":1}}`,
    ]) {
      assert.isUndefined(scan(body).found, body)
    }
  })
})

describe("A large body", () => {
  const megabytes = 4
  const filled = (part: string) => part.repeat(Math.ceil((megabytes * 1024 * 1024) / part.length))
  const shapes: ReadonlyArray<readonly [shape: string, body: string]> = [
    ["tiny items", `{"input":[${filled(`{"role":"user","content":"x"},`)}{"fork_from":"${theirs}"}]}`],
    ["tiny lists", `{"x":[${filled("[],")}{"fork_from":"${theirs}"}]}`],
    ["numbers", `{"x":[${filled("1,")}{"fork_from":"${theirs}"}]}`],
    ["blanks", `{"x":[${filled(" ")}{"fork_from":"${theirs}"}]}`],
    ["names", `{"x":[${filled(`{"a\\u0062":0},`)}{"fork_from":"${theirs}"}]}`],
    ["arguments", `{"input":[{"arguments":"[${filled(`\\"x\\",`)}\\"${theirs}\\"]"}]}`],
    ["one number", `{"x":[1${filled("0")},{"fork_from":"${theirs}"}]}`],
    ["one name", `{"x":[{"${filled("\\u0061")}":1},{"fork_from":"${theirs}"}]}`],
    ["a text of no kind", `{"x":"${filled("id_0 ")}${theirs}"}`],
    ["words with escapes", `{"input":[{"content":"${filled('\\n\\"')}","x":"${theirs}"}]}`],
    ["a text of escapes", `{"x":"${filled("\\u0041%41")}%${theirs}"}`],
  ]

  for (const [shape, body] of shapes) {
    it(`of ${shape} is read to its end, with a pause in each 64 KiB or less`, () => {
      const { found, pauses } = scan(body)
      assert.deepStrictEqual(found?._tag === "Id" ? found.id : found, theirs)
      assert.isAtLeast(pauses, megabytes * 16 - 1)
    })
  }
})
