/**
 * Plain requests to a proxy under test, so that nothing but the test decides what is in them.
 */
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../src/simulator/JsonText.ts"
import { objectIn } from "./Parsed.ts"

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Undefined where the text is no JSON object. */
  readonly json: JsonObject | undefined
}

export interface Asked {
  readonly method?: string
  /** Sent as a Bearer token. */
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  /** A string or bytes are sent as they are. */
  readonly body?: JsonObject | string | Uint8Array<ArrayBuffer>
}

const bytesOf = (body: JsonObject | string | Uint8Array<ArrayBuffer>) =>
  typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body)

/** Done with the head of the answer. Its body is the test's to read; `signal` leaves the request, whenever that is. */
export const request = (
  url: string,
  { body, headers, key, method = body === undefined ? "GET" : "POST" }: Asked = {},
  signal?: AbortSignal,
): Promise<Response> =>
  fetch(url, {
    method,
    redirect: "manual",
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    ...(signal === undefined ? {} : { signal }),
    ...(body === undefined ? {} : { body: bytesOf(body) }),
  })

/** `request` as an effect, whose interruption leaves the request. */
export const open = (url: string, asked?: Asked) => Effect.promise((signal) => request(url, asked, signal))

export const ask = (url: string, asked?: Asked) =>
  Effect.promise(async (signal): Promise<Answer> => {
    const response = await request(url, asked, signal)
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: objectIn(text) }
  })

/** The items of an answer, as a client replays them. */
export const outputOf = ({ json, text }: Answer): ReadonlyArray<JsonObject> => {
  const output = json?.["output"]
  if (!isArray(output)) throw new Error(`no output in ${text}`)
  return output.filter(isObject)
}

export const idOf = ({ json, text }: Answer): string => {
  const id = json?.["id"]
  if (typeof id !== "string") throw new Error(`no id in ${text}`)
  return id
}

/** The error of an answer, in the API's shape. */
export const errorIn = ({ json, status, text }: Answer): JsonObject => {
  const error = json?.["error"]
  if (!isObject(error)) throw new Error(`no error in ${status} ${text}`)
  return error
}

/** `code` and `param` of an error that is the client's own, with the status. */
export const errorOf = (answer: Answer) => {
  const error = errorIn(answer)
  if (typeof error["message"] !== "string" || error["type"] !== "invalid_request_error") {
    throw new Error(`no error of the client's in ${answer.status} ${answer.text}`)
  }
  return {
    status: answer.status,
    code: error["code"] ?? null,
    param: error["param"] ?? null,
    message: error["message"],
  }
}

/** What the decision headers of an answer say of these; of the transport and the reason where none are named. */
export const way = (
  { headers }: Pick<Answer, "headers">,
  ...names: ReadonlyArray<"connection" | "input" | "reason" | "transport">
): ReadonlyArray<string | null> =>
  (names.length === 0 ? ["transport", "reason"] : names).map((name) => headers.get(`x-respool-${name}`))
