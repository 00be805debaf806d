/**
 * Plain requests to a proxy under test, so that nothing but the test decides what is in them.
 */
import { Effect } from "effect"
import type { Json, JsonObject } from "../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../src/simulator/JsonText.ts"

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
  /** A string is sent as it is. */
  readonly body?: JsonObject | string
}

const parsed = (text: string): JsonObject | undefined => {
  try {
    const value = JSON.parse(text) as Json
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

export const ask = (url: string, { body, headers, key, method = body === undefined ? "GET" : "POST" }: Asked = {}) =>
  Effect.promise(async (signal): Promise<Answer> => {
    const response = await fetch(url, {
      method,
      signal,
      redirect: "manual",
      headers: {
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: parsed(text) }
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

/** `code` and `param` of an error in the API's shape, with the status. */
export const errorOf = ({ json, status, text }: Answer) => {
  const error = json?.["error"]
  if (!isObject(error) || typeof error["message"] !== "string" || error["type"] !== "invalid_request_error") {
    throw new Error(`no error of the API's in ${status} ${text}`)
  }
  return { status, code: error["code"] ?? null, param: error["param"] ?? null, message: error["message"] }
}
