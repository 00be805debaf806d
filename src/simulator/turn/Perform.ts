/**
 * Writes a scripted answer as the events of a response, in the order the API sends them.
 *
 * An item's raw text is written once and is the same text in `output_item.done` and in the terminal response.
 */
import type { CreateRequest } from "../request/CreateRequest.ts"
import type { Ended, Frame, Performance } from "../Faults.ts"
import type { Ids } from "../Ids.ts"
import type { JsonObject } from "../JsonText.ts"
import { byteLength } from "../JsonText.ts"
import type { ResponseState } from "./ResponseObject.ts"
import { responseWriter } from "./ResponseObject.ts"
import type { Answer, Part } from "../Script.ts"
import type { Usage } from "../context/Usage.ts"
import { tokensOf, usageText } from "../context/Usage.ts"

interface OutputItem {
  readonly raw: string
  readonly value: JsonObject
}

export interface Performed extends Performance {
  readonly responseId: string
  readonly output: ReadonlyArray<OutputItem>
  readonly usage: Usage
  /** The output items that were done once so many frames had been sent. */
  readonly doneBefore: (sent: number) => ReadonlyArray<OutputItem>
  /** The complete response, as storage keeps it. */
  readonly stored: string
}

export interface PerformOptions {
  readonly request: CreateRequest
  readonly answer: Answer
  readonly ids: Ids
  /** Seconds. */
  readonly createdAt: number
  readonly inputTokens: number
  readonly cachedTokens: number
  /** Whether reasoning has a `status`. */
  readonly reasoningStatus: boolean
  /** Leaves `output` out of `response.completed`. */
  readonly sparse: boolean
  /** Leaves the lane's name out of every event. */
  readonly nameless: boolean
}

const words = (text: string): ReadonlyArray<string> => text.match(/\s*\S+|\s+$/g) ?? []
const pieces = (text: string): ReadonlyArray<string> => text.match(/[\s\S]{1,12}/gu) ?? []
const quote = (text: string): string => JSON.stringify(text)

export const perform = (options: PerformOptions): Performed => {
  const { answer, ids, request } = options
  const responseId = ids.item("resp")
  const lane = request.streamId === undefined || options.nameless ? "" : `,"stream_id":"${request.streamId}"`
  const write = responseWriter(request, options.createdAt)
  const frames: Array<Frame> = []
  const output: Array<OutputItem> = []
  const doneAt: Array<number> = []
  let reasoningBytes = 0
  let outputBytes = 0

  const frame = (event: string, fields: string, token = false, sequence = frames.length): Frame => ({
    event,
    data: `{"type":"${event}","sequence_number":${sequence},${fields}${lane}}`,
    token,
  })
  const emit = (event: string, fields: string, token = false): void => {
    frames.push(frame(event, fields, token))
  }
  const added = (raw: string): void =>
    emit("response.output_item.added", `"output_index":${output.length},"item":${raw}`)
  const done = (raw: string): void => {
    emit("response.output_item.done", `"output_index":${output.length},"item":${raw}`)
    output.push({ raw, value: JSON.parse(raw) as JsonObject })
    doneAt.push(frames.length)
    outputBytes += byteLength(raw)
  }
  const itemAt = (id: string): string => `"item_id":"${id}","output_index":${output.length}`

  const message = (text: string, refusal: boolean, phase: string | undefined): void => {
    const id = ids.item("msg")
    const kind = refusal ? "refusal" : "output_text"
    const part = (content: string) =>
      refusal
        ? `{"type":"refusal","refusal":${content}}`
        : `{"type":"output_text","text":${content},"annotations":[],"logprobs":[]}`
    const item = (status: string, content: string) =>
      `{"type":"message","role":"assistant","status":"${status}"${phase === undefined ? "" : `,"phase":"${phase}"`},"content":[${content}],"id":"${id}"}`
    const at = `${itemAt(id)},"content_index":0`
    const extra = refusal ? "" : ',"logprobs":[]'
    added(item("in_progress", ""))
    emit("response.content_part.added", `${at},"part":${part('""')}`)
    for (const word of words(text)) emit(`response.${kind}.delta`, `${at},"delta":${quote(word)}${extra}`, true)
    emit(`response.${kind}.done`, `${at},"${refusal ? "refusal" : "text"}":${quote(text)}${extra}`)
    emit("response.content_part.done", `${at},"part":${part(quote(text))}`)
    done(item("completed", part(quote(text))))
  }

  const reasoning = (part: Extract<Part, { readonly _tag: "Reasoning" }>): void => {
    const id = ids.item("rs")
    const encrypted = part.encrypted === undefined ? ids.opaque(320) : part.encrypted
    const statusOf = (status: string) => (options.reasoningStatus ? `,"status":"${status}"` : "")
    const item = (status: string, summary: string, content: string | null) =>
      `{"type":"reasoning"${statusOf(status)},"summary":[${summary}]${content === null ? "" : `,"encrypted_content":${quote(content)}`},"id":"${id}"}`
    reasoningBytes += byteLength(encrypted ?? "") + byteLength(part.summary.join(""))
    added(item("in_progress", "", encrypted?.slice(0, 24) ?? null))
    for (const [index, text] of part.summary.entries()) {
      const at = `${itemAt(id)},"summary_index":${index}`
      emit("response.reasoning_summary_part.added", `${at},"part":{"type":"summary_text","text":""}`)
      for (const word of words(text))
        emit("response.reasoning_summary_text.delta", `${at},"delta":${quote(word)}`, true)
      emit("response.reasoning_summary_text.done", `${at},"text":${quote(text)}`)
      emit("response.reasoning_summary_part.done", `${at},"part":{"type":"summary_text","text":${quote(text)}}`)
    }
    done(
      item(
        "completed",
        part.summary.map((text) => `{"type":"summary_text","text":${quote(text)}}`).join(","),
        encrypted,
      ),
    )
  }

  const call = (kind: "function_call" | "custom_tool_call", name: string, field: string, text: string): void => {
    const id = ids.item(kind === "function_call" ? "fc" : "ctc")
    const callId = ids.call()
    const item = (status: string, content: string) =>
      `{"type":"${kind}","status":"${status}","name":${quote(name)},"${field}":${quote(content)},"id":"${id}","call_id":"${callId}"}`
    const event = `response.${kind}_${field}`
    added(item("in_progress", ""))
    for (const piece of pieces(text)) emit(`${event}.delta`, `${itemAt(id)},"delta":${quote(piece)}`, true)
    emit(`${event}.done`, `${itemAt(id)},"${field}":${quote(text)}`)
    done(item("completed", text))
  }

  const play = (part: Part): void => {
    switch (part._tag) {
      case "Reasoning":
        return reasoning(part)
      case "Message":
        return message(part.text, false, part.phase)
      case "Refusal":
        return message(part.text, true, undefined)
      case "FunctionCall": {
        const text = typeof part.arguments === "string" ? part.arguments : JSON.stringify(part.arguments)
        return call("function_call", part.name, "arguments", text)
      }
      case "CustomToolCall":
        return call("custom_tool_call", part.name, "input", part.input)
      case "WebSearch": {
        const id = ids.item("ws")
        const item = (status: string) =>
          `{"id":"${id}","type":"web_search_call","status":"${status}","action":{"type":"search","query":${quote(part.query)}}}`
        added(item("in_progress"))
        for (const state of ["in_progress", "searching", "completed"])
          emit(`response.web_search_call.${state}`, itemAt(id))
        return done(item("completed"))
      }
      case "Compaction": {
        const raw = `{"id":"${ids.item("cmp")}","type":"compaction","encrypted_content":${quote(ids.opaque(640))}}`
        added(raw)
        return done(raw)
      }
      case "Item": {
        const raw = JSON.stringify(part.item.id === undefined ? { ...part.item, id: ids.item("item") } : part.item)
        added(raw)
        return done(raw)
      }
    }
  }

  const start = write({ id: responseId, status: "in_progress", output: [] })
  emit("response.created", `"response":${start}`)
  if (request.generate) {
    emit("response.in_progress", `"response":${start}`)
    for (const part of answer.output) play(part)
  }

  const usage: Usage = {
    inputTokens: options.inputTokens,
    cachedTokens: options.cachedTokens,
    outputTokens: tokensOf(outputBytes),
    reasoningTokens: tokensOf(reasoningBytes),
  }
  const doneBefore = (sent: number) => output.filter((_, index) => (doneAt[index] ?? 0) <= sent)
  const end = (sent: number, state: ResponseState): Ended => {
    const response = write(state)
    const event = `response.${state.status}`
    return { frame: frame(event, `"response":${response}`, false, sent), response }
  }
  const counted = usageText(usage)
  const texts = (items: ReadonlyArray<OutputItem>) => items.map(({ raw }) => raw)
  const failed = (code: string, text: string, sent: number) =>
    end(sent, { id: responseId, status: "failed", output: texts(doneBefore(sent)), error: { code, message: text } })
  const incomplete = (reason: string, sent: number) =>
    end(sent, {
      id: responseId,
      status: "incomplete",
      output: texts(doneBefore(sent)),
      incompleteReason: reason,
      usage: counted,
    })
  const completed = (id: string | undefined, sparse: boolean) =>
    end(frames.length, { id, status: "completed", output: sparse ? undefined : texts(output), usage: counted })

  const ending = answer.ending ?? { _tag: "Completed" as const }
  const terminal =
    ending._tag === "Failed"
      ? failed(ending.code, ending.message, frames.length)
      : ending._tag === "Incomplete"
        ? incomplete(ending.reason, frames.length)
        : completed(responseId, options.sparse)
  return {
    responseId,
    output,
    usage,
    frames,
    doneBefore,
    status: ending._tag === "Failed" ? "failed" : ending._tag === "Incomplete" ? "incomplete" : "completed",
    terminal,
    stored: ending._tag === "Completed" && options.sparse ? completed(responseId, false).response : terminal.response,
    withoutId: () => completed(undefined, options.sparse),
    failed,
    incomplete,
    streamId: request.streamId,
  }
}
