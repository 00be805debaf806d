/**
 * Tells of an error in a stream as a `response.failed`, for clients that know of no other end than a response's
 * (`RESPOOL_STREAM_ERROR=failed`).
 *
 * The response is the one that had begun. Where none had, a `response.created` goes first, without which the OpenAI
 * SDKs take no further event.
 */
import type { TurnRequest, TurnSink } from "../../turn/Executor.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { eventType, isLifecycle, textAt, toSse } from "../../wire/Event.ts"
import { readMember } from "../../wire/RequestBody.ts"
import { errorOf } from "../../wire/UpstreamError.ts"

/** The codes that a failed response may have; for any other cause it says `server_error` (docs/protocol.md 2.1). */
const codes: ReadonlySet<string> = new Set(["server_error", "rate_limit_exceeded", "invalid_prompt"])

export class FailedResponse {
  /** The text of the event with which the response began; undefined: none has come. */
  #begun: string | undefined
  readonly #turn: TurnRequest

  constructor(turn: TurnRequest) {
    this.#turn = turn
  }

  /** The sink of the turn's events, which takes note of the first that holds the response. */
  noting(sink: TurnSink): TurnSink {
    return {
      route: (route) => sink.route(route),
      head: (headers) => sink.head(headers),
      event: (type, text) => {
        if (this.#begun === undefined && isLifecycle(type) && type.startsWith("response.")) this.#begun = text
        return sink.event(type, text)
      },
      onDrain: (resume, taken) => sink.onDrain(resume, taken),
    }
  }

  /** The error as server-sent events; `sequence` is the number that follows that of the last event. */
  events(error: TurnError, sequence: number): string {
    if (error.event !== undefined && eventType(error.event) === "response.failed") {
      return toSse("response.failed", error.event)
    }
    const begun = this.#begun === undefined ? undefined : responseIn(this.#begun)
    const response = begun ?? emptyResponse(this.#turn)
    const failed = { ...response, status: "failed", error: wordsOf(error) }
    const told = (type: string, sequence_number: number, response: Response) =>
      toSse(type, JSON.stringify({ type, sequence_number, response }))
    return begun === undefined
      ? told("response.created", sequence, response) + told("response.failed", sequence + 1, failed)
      : told("response.failed", sequence, failed)
  }
}

type Response = Readonly<Record<string, unknown>>

const responseIn = (event: string): Response | undefined => {
  const text = textAt(event, ["response"])
  const response: unknown = text === undefined ? undefined : JSON.parse(text)
  return typeof response === "object" && response !== null ? { ...response } : undefined
}

/** The members that every response has, as far as they are known without an upstream. */
const emptyResponse = ({ body, startedAt, turnId }: TurnRequest): Response => ({
  id: `resp_${turnId.replaceAll("-", "")}`,
  object: "response",
  created_at: Math.floor(startedAt / 1000),
  status: "in_progress",
  error: null,
  incomplete_details: null,
  instructions: null,
  metadata: {},
  model: readMember(body, "model") ?? null,
  output: [],
  parallel_tool_calls: true,
  previous_response_id: readMember(body, "previous_response_id") ?? null,
  temperature: null,
  tool_choice: "auto",
  tools: [],
  top_p: null,
})

const wordsOf = ({ answer, code, event, message, reason }: TurnError) => {
  const said = event ?? (answer === undefined ? undefined : `{"type":"error",${answer.body.trim().slice(1)}`)
  const upstream = said === undefined ? undefined : errorOf(said)
  const named = upstream?.code ?? code ?? ""
  return {
    code: codes.has(named) ? named : "server_error",
    message: upstream?.message ?? `respool: ${message} (${reason})`,
  }
}
