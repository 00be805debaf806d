/**
 * A client's socket to the proxy of a test, with the client's key.
 */
import { Effect } from "effect"
import type { Json, JsonObject } from "../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../src/simulator/JsonText.ts"
import type { Event } from "./TestClient.ts"
import { at, connect } from "./TestClient.ts"
import { TestProxy } from "./TestProxy.ts"

export const keyed = (key = "test-key-a") => ({ authorization: `Bearer ${key}` })

/** Opens a socket, closed with the scope. */
export const socket = (headers: Record<string, string> = {}) =>
  Effect.flatMap(TestProxy, (proxy) => connect(proxy, { ...keyed(), ...headers }))

/** The items of a finished response, as a client replays them. */
export const outputOf = (event: Event): ReadonlyArray<JsonObject> => {
  const output = at(event, "response", "output")
  if (!isArray(output)) throw new Error(`no output in ${JSON.stringify(event)}`)
  return output.filter(isObject)
}

/** `type`, `status` and `error.code` of an error frame, which must be whole. */
export const errorIn = (
  event: Event,
): readonly [status: Json | undefined, code: string, streamId: Json | undefined] => {
  const { code, message, type } = isObject(event.error) ? event.error : {}
  const isWhole =
    event.type === "error" &&
    Number.isInteger(event.status) &&
    [code, message, type].every((text) => typeof text === "string" && text !== "")
  if (!isWhole) throw new Error(`no whole error frame: ${JSON.stringify(event)}`)
  return [event.status, String(code), event.stream_id]
}
