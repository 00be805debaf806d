/**
 * Refuses what a request says about its run in the background where the transport, or the rest of the request, forbids it.
 *
 * Source: docs/protocol.md 1.2.
 */
import type { JsonObject } from "../JsonText.ts"
import { isObject } from "../JsonText.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid, wrongType } from "../Refusal.ts"

/** Windows that cost less, for which the answer may take that long. */
const longWindows = ["2h", "8h"]
const windows = ["soonest", ...longWindows]

const isGiven = (value: JsonObject, name: string) => value[name] !== undefined && value[name] !== null

/** Nothing runs in the background over a socket; `false` and null say as much. */
export const backgroundOnSocket = (value: JsonObject): Refusal | undefined => {
  const param =
    value.background === true ? "background" : isGiven(value, "background_options") ? "background_options" : undefined
  return param === undefined
    ? undefined
    : invalid(`'${param}' is not supported over WebSocket.`, { code: "unsupported_parameter", param })
}

/** What is wrong with the options of a request over HTTP. */
export const wrongBackgroundOptions = (value: JsonObject): Refusal | undefined => {
  if (!isGiven(value, "background_options")) return undefined
  const options = value.background_options
  if (!isObject(options)) return wrongType("background_options", "an object")
  if (isGiven(options, "continuation_id") && typeof options.continuation_id !== "string") {
    return wrongType("background_options.continuation_id", "a string")
  }
  if (!isGiven(options, "completion_window")) return undefined
  const param = "background_options.completion_window"
  const window = options.completion_window
  if (typeof window !== "string") return wrongType(param, "a string")
  if (!windows.includes(window)) {
    const supported = windows.map((one) => `'${one}'`).join(", ")
    return invalid(`Invalid value: '${window}'. Supported values are: ${supported}.`, { code: "invalid_value", param })
  }
  if (!longWindows.includes(window)) return undefined
  const tier = value.service_tier ?? "auto"
  const isStandard = tier === "auto" || tier === "default"
  return value.background === true && value.stream !== true && isStandard
    ? undefined
    : invalid(`'${window}' needs 'background': true, 'stream': false and standard processing.`, {
        code: "unsupported_parameter",
        param,
      })
}
