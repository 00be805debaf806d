/**
 * Draws conversations: what a user asks and what a model answers, turn after turn, with every kind of item there is.
 *
 * Texts are made of few pieces, so that equal texts and near misses are frequent.
 */
import { Arbitrary, Schema } from "effect"
import { Choices } from "./JsonTexts.ts"
import { type Json, type JsonObject, Num, respelled, write } from "./JsonValue.ts"

export interface Exchange {
  /** Items the client wrote: tool outputs for what was called before, messages, and others. */
  readonly ask: ReadonlyArray<JsonObject>
  /** Finished items of the response. */
  readonly answer: ReadonlyArray<JsonObject>
}

const int = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99_991 })))

/** One list of numbers per exchange. */
export const exchanges = Arbitrary.array(Arbitrary.array(int, { minLength: 8, maxLength: 120 }), {
  minLength: 2,
  maxLength: 4,
})

export const seeds = int

/** Numbers for as many choices as a text may need, from one. */
export const choicesFrom = (seed: number): Choices => {
  let state = seed + 1
  return new Choices(Array.from({ length: 600 }, () => (state = (state * 48_271) % 2_147_483_647)))
}

const pieces = [
  "a",
  "b",
  "",
  "ab",
  " ",
  "null",
  "1.0",
  "\n",
  '"',
  "\\",
  "é",
  "e\u0301",
  "😀",
  "\ud83d",
  "\ude00",
  "\ufffd",
]

const drawText = (choices: Choices): string => {
  let text = choices.of(pieces)
  for (let more = choices.below(3); more > 0; more--) text += choices.of(pieces)
  return text
}

const numbers = ["1", "1.0", "1e0", "100", "1e2", "1E+2", "-0", "0.10", "9007199254740993", "9007199254740992", "1e400"]
const names = ["a", "b", "city", "null", "é", ""]

const drawValue = (choices: Choices, depth: number): Json => {
  switch (choices.below(depth > 2 ? 4 : 6)) {
    case 0:
      return drawText(choices)
    case 1:
      return new Num(choices.of(numbers))
    case 2:
      return null
    case 3:
      return choices.below(2) === 0
    case 4:
      return Array.from({ length: choices.below(3) }, () => drawValue(choices, depth + 1))
    default:
      return drawMembers(choices, depth + 1)
  }
}

const drawMembers = (choices: Choices, depth: number): JsonObject => {
  const members: Record<string, Json> = {}
  for (let count = choices.below(4); count > 0; count--) members[choices.of(names)] = drawValue(choices, depth)
  return members
}

const strangeArguments = ["", "{", "{}", "[1, 2.0]", "1.0", '{"a":01}', "null", '{"a":-0}', '\ufeff{"a":1}'].concat(
  // Half of a pair, its escape, and both behind a backslash.
  ['{"a":"\ud83d"}', '{"a":"\\ud83d"}', '{"a":"\\\ud83d"}', '{"a":"\\\\ud83d"}'],
)

/** Models write arguments with spaces or without, and now and then something that is no JSON, or not for every reader. */
const drawArguments = (choices: Choices): string => {
  const members = drawMembers(choices, 0)
  switch (choices.below(8)) {
    case 0:
      return write(members, " ")
    case 1:
      return respelled(members, choices)
    case 2:
      return choices.of(strangeArguments)
    case 3:
      return `\ufeff${write(members, " ")}`
    case 4: {
      // Half of a pair as it is, where a writer would escape it.
      const half = choices.of(["\ud83d", "\ude00"])
      return write({ ...members, a: `${half}x` }).replace(`\\u${half.charCodeAt(0).toString(16)}x`, `${half}x`)
    }
    default:
      return write(members)
  }
}

/** The same member under a name of its own half of the time, else none. */
const perhaps = (choices: Choices, members: JsonObject): JsonObject => (choices.below(2) === 0 ? {} : members)

const drawReasoning = (choices: Choices, id: string): JsonObject => ({
  id,
  type: "reasoning",
  summary: Array.from({ length: choices.below(3) }, () => ({ type: "summary_text", text: drawText(choices) })),
  ...perhaps(choices, { encrypted_content: `ENC ${choices.of([id, id, "same"])}` }),
  ...(choices.below(4) === 3 ? { content: [{ type: "reasoning_text", text: drawText(choices) }] } : {}),
  ...(choices.below(4) === 3 ? { status: "completed" } : {}),
})

const drawPart = (choices: Choices): JsonObject =>
  choices.below(6) === 5
    ? { type: "refusal", refusal: drawText(choices) }
    : {
        type: "output_text",
        text: drawText(choices),
        annotations:
          choices.below(4) === 3
            ? [
                {
                  type: "url_citation",
                  url: "https://example.test",
                  start_index: new Num("0"),
                  end_index: new Num("1"),
                },
              ]
            : [],
        ...perhaps(choices, { logprobs: [] }),
      }

const drawMessage = (choices: Choices, id: string): JsonObject => ({
  id,
  type: "message",
  status: "completed",
  role: "assistant",
  content: Array.from({ length: choices.of([1, 1, 2, 3, 0]) }, () => drawPart(choices)),
  ...perhaps(choices, { phase: choices.of(["commentary", "final_answer"]) }),
})

const drawCall = (choices: Choices, id: string): JsonObject => ({
  type: "function_call",
  id: `fc_${id}`,
  call_id: `call_${id}`,
  name: choices.of(["get_weather", "get_time"]),
  arguments: drawArguments(choices),
  status: "completed",
  ...(choices.below(6) === 5 ? { namespace: choices.of(["one", "two"]) } : {}),
})

/** In a schema null is a value. */
const drawTool = (choices: Choices): JsonObject => ({
  type: "function",
  name: choices.of(["get_weather", "get_time"]),
  parameters: { a: choices.of<Json>([{}, { const: null }, { enum: [null], default: null }, { const: "a" }]) },
})

const drawHosted = (choices: Choices, id: string): JsonObject => {
  const text = drawText(choices)
  const call = { call_id: `call_${id}`, status: "completed" }
  switch (choices.below(12)) {
    case 0: {
      const action = { type: "search", query: text, ...perhaps(choices, { queries: null }) }
      return { id: `ws_${id}`, type: "web_search_call", status: choices.of(["completed", "failed"]), action }
    }
    case 1:
      return {
        id: `fs_${id}`,
        type: "file_search_call",
        status: "completed",
        queries: [text],
        results: choices.of<Json>([null, [{ file_id: "file_1", score: new Num("0.50"), text }]]),
      }
    case 2:
      return { id: `ig_${id}`, type: "image_generation_call", status: "completed", result: `iVBOR${text}` }
    case 3:
      return {
        id: `mcp_${id}`,
        type: "mcp_call",
        server_label: "files",
        name: "read",
        arguments: drawArguments(choices),
        output: text,
        error: null,
      }
    case 4:
      return {
        id: `cu_${id}`,
        type: "computer_call",
        call_id: `call_${id}`,
        action: { type: "click", button: "left", x: new Num("1.0"), y: new Num(choices.of(numbers)) },
        pending_safety_checks: choices.of([[], [{ id: text, status: "completed" }]]),
        status: "completed",
      }
    case 5:
      return { id: `cmp_${id}`, type: "compaction", encrypted_content: `COMPACT ${id}`, created_by: "model" }
    case 6:
      return { id: `ci_${id}`, type: "code_interpreter_call", code: text, container_id: "cntr_1", outputs: null }
    case 7:
      return { id: `ls_${id}`, type: "local_shell_call", call_id: `call_${id}`, action: { command: [text] } }
    case 8:
      return { id: `ap_${id}`, type: "apply_patch_call", ...call, operation: { type: "delete_file", path: text } }
    case 9:
      return { id: `sh_${id}`, type: "shell_call", ...call, action: { commands: [text], timeout_ms: null } }
    case 10:
      return { id: `mcpl_${id}`, type: "mcp_list_tools", server_label: "files", tools: [drawTool(choices)] }
    default:
      return {
        id: `new_${id}`,
        type: "telepathy_call",
        thought: { id: text, status: text, weight: new Num(choices.of(numbers)) },
      }
  }
}

const drawAnswer = (choices: Choices, turn: number): ReadonlyArray<JsonObject> =>
  Array.from({ length: choices.of([2, 3, 1, 4, 0]) }, (_, index) => {
    const id = `${turn}_${index}`
    switch (choices.below(8)) {
      case 0:
      case 1:
        return drawMessage(choices, `msg_${id}`)
      case 2:
      case 3:
        return drawReasoning(choices, `rs_${id}`)
      case 4:
      case 5:
        return drawCall(choices, id)
      case 6: {
        const input = drawText(choices)
        return {
          type: "custom_tool_call",
          id: `ctc_${id}`,
          call_id: `call_${id}`,
          name: "apply",
          input,
          status: "completed",
        }
      }
      default:
        return drawHosted(choices, id)
    }
  })

const drawOutput = (choices: Choices): Json =>
  choices.below(3) === 2
    ? [
        { type: "input_text", text: drawText(choices) },
        { type: "input_image", image_url: `data:image/png;base64,${drawText(choices)}`, detail: "auto" },
      ]
    : drawText(choices)

/** A client answers every call, in order. */
const answered = (call: JsonObject, choices: Choices): ReadonlyArray<JsonObject> => {
  const callId = call["call_id"] ?? null
  switch (call["type"]) {
    case "function_call":
      return [{ type: "function_call_output", call_id: callId, output: drawOutput(choices) }]
    case "custom_tool_call":
      return [{ type: "custom_tool_call_output", call_id: callId, output: drawOutput(choices) }]
    case "computer_call": {
      const output = { type: "computer_screenshot", image_url: `data:image/png;base64,${drawText(choices)}` }
      return [{ type: "computer_call_output", call_id: callId, output, acknowledged_safety_checks: [] }]
    }
    case "apply_patch_call": {
      const status = choices.of(["completed", "failed"])
      return [{ type: "apply_patch_call_output", call_id: callId, status, output: drawText(choices) }]
    }
    case "shell_call":
      return [{ type: "shell_call_output", call_id: callId, output: [{ stdout: drawText(choices), outcome: null }] }]
    case "local_shell_call":
      // Of this one kind the `id` is the call's, and no `call_id` exists.
      return [{ type: "local_shell_call_output", id: callId, output: drawText(choices) }]
    default:
      return []
  }
}

const drawContent = (choices: Choices): Json => {
  const text = (): Json => ({ type: "input_text", text: drawText(choices) })
  switch (choices.below(6)) {
    case 0:
    case 1:
      return drawText(choices)
    case 2:
      return [text()]
    case 3:
      return [text(), text()]
    case 4:
      return [text(), { type: "input_image", image_url: `data:image/png;base64,${drawText(choices)}`, detail: "auto" }]
    default:
      return [{ type: "input_file", filename: "a.pdf", file_data: drawText(choices) }, text()]
  }
}

/** What a client may have got elsewhere, or made up: its id says which item it is. */
const drawStrange = (choices: Choices): JsonObject => {
  const id = choices.of(["msg_0_0", "rs_0_1", "ws_x", "\ud83d", "\ude00"])
  switch (choices.below(7)) {
    case 5:
    case 6:
      return { type: "apply_patch_call_output", call_id: id, status: choices.of(["completed", "failed"]) }
    case 0:
      return { type: "item_reference", id, more: drawText(choices) }
    case 1:
      return { type: "item_reference", id }
    case 2:
      return { type: "web_search_call", id, status: "completed", action: { type: "search", query: drawText(choices) } }
    case 3:
      return { type: "message", role: "user", id }
    default:
      return { type: "compaction", id, created_by: "model" }
  }
}

const drawOwn = (choices: Choices): JsonObject => {
  switch (choices.below(13)) {
    case 10:
    case 12:
      return drawStrange(choices)
    case 11:
      return { type: "additional_tools", tools: [drawTool(choices)] }
    case 7:
      return { role: choices.of(["developer", "system"]), content: drawText(choices) }
    case 8:
      return { role: "assistant", content: drawText(choices) }
    case 9:
      return { type: "additional_tools", tools: [{ id: drawText(choices), weight: new Num(choices.of(numbers)) }] }
    default:
      return { role: "user", content: drawContent(choices) }
  }
}

export const drawConversation = (drawn: ReadonlyArray<ReadonlyArray<number>>): ReadonlyArray<Exchange> => {
  const conversation: Array<Exchange> = []
  for (const [turn, numbersOfTurn] of drawn.entries()) {
    const choices = new Choices(numbersOfTurn)
    const outputs = (conversation.at(-1)?.answer ?? []).flatMap((item) => answered(item, choices))
    const count = outputs.length > 0 ? choices.below(2) : 1 + choices.below(2)
    const ask = [...outputs, ...Array.from({ length: count }, () => drawOwn(choices))]
    conversation.push({ ask, answer: drawAnswer(choices, turn) })
  }
  return conversation
}
