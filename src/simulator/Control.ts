/**
 * Controls a simulator that runs as a process of its own, over HTTP outside of its base path.
 *
 * - `GET /simulator/stats` gives the counters.
 * - `GET /simulator/turns` gives a summary of each kept turn, `GET /simulator/connections` one of each connection.
 * - `POST /simulator/reset` forgets records and counters.
 * - `POST /simulator/configure` takes a JSON object of switches (`script` as options of the agent) and a `failNext`
 *   list of fault lists.
 */
import { Option, Schema } from "effect"
import type { FaultQueue } from "./request/Arrival.ts"
import { json, refused } from "./front/HttpAnswers.ts"
import { invalid } from "./Refusal.ts"
import { agent } from "./Script.ts"
import type { ConnectionRecord, SimulatorState, TurnRecord } from "./SimulatorState.ts"
import { resetState } from "./SimulatorState.ts"

const strings = Schema.Record(Schema.String, Schema.String)
const position = { at: Schema.optionalKey(Schema.Number) }

const error = {
  status: Schema.Number,
  code: Schema.NullOr(Schema.String),
  message: Schema.String,
  type: Schema.optionalKey(Schema.String),
  param: Schema.optionalKey(Schema.String),
  headers: Schema.optionalKey(strings),
  flat: Schema.optionalKey(Schema.Boolean),
  withoutStatus: Schema.optionalKey(Schema.Boolean),
}

const FaultJson = Schema.Union([
  Schema.TaggedStruct("Close", { ...position, code: Schema.Number, reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("Reset", position),
  Schema.TaggedStruct("Finish", position),
  Schema.TaggedStruct("Stall", position),
  Schema.TaggedStruct("Hold", position),
  Schema.TaggedStruct("Delay", { ...position, millis: Schema.Number }),
  Schema.TaggedStruct("Error", { ...position, ...error }),
  Schema.TaggedStruct("UnknownEvent", position),
  Schema.TaggedStruct("InvalidJson", position),
  Schema.TaggedStruct("BinaryFrame", position),
  Schema.TaggedStruct("ExtraFrame", { ...position, text: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("DuplicateTerminal", {}),
  Schema.TaggedStruct("TerminalWithoutId", {}),
  Schema.TaggedStruct("Failed", { ...position, code: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("Incomplete", { ...position, reason: Schema.String }),
  Schema.TaggedStruct("Unread", { code: Schema.optionalKey(Schema.Number), reason: Schema.optionalKey(Schema.String) }),
  Schema.TaggedStruct("Deaf", {}),
  Schema.TaggedStruct("Forget", { stored: Schema.optionalKey(Schema.Boolean) }),
  Schema.TaggedStruct("ConnectionLimit", {}),
  Schema.TaggedStruct("Refuse", error),
])

const Changes = Schema.Struct({
  websocket: Schema.optionalKey(Schema.Literals(["on", "off", "hang"])),
  websocketOffStatus: Schema.optionalKey(Schema.Literals([404, 405, 426, 501])),
  upgradeRefusal: Schema.optionalKey(
    Schema.NullOr(
      Schema.Struct({
        status: Schema.Number,
        headers: Schema.optionalKey(strings),
        body: Schema.optionalKey(Schema.String),
      }),
    ),
  ),
  upgradeHeaders: Schema.optionalKey(strings),
  sparseTerminal: Schema.optionalKey(Schema.Boolean),
  namesLanes: Schema.optionalKey(Schema.Boolean),
  latency: Schema.optionalKey(Schema.Number),
  eventLatency: Schema.optionalKey(Schema.Number),
  tokensPerSecond: Schema.optionalKey(Schema.Number),
  maxMessageBytes: Schema.optionalKey(Schema.Number),
  apiKeys: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
  maxConnectionAge: Schema.optionalKey(Schema.Number),
  announceConnectionLimit: Schema.optionalKey(Schema.Boolean),
  script: Schema.optionalKey(
    Schema.Struct({
      rounds: Schema.optionalKey(Schema.Number),
      words: Schema.optionalKey(Schema.Number),
      calls: Schema.optionalKey(Schema.Number),
    }),
  ),
  failNext: Schema.optionalKey(Schema.Array(Schema.Array(FaultJson))),
})

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Changes), { onExcessProperty: "error" })

const configure = (state: SimulatorState, text: string): Response => {
  const changes = decode(text)
  if (Option.isNone(changes)) return refused(invalid("These are no switches of the simulator."))
  const { apiKeys, failNext, script, upgradeRefusal, ...rest } = changes.value
  state.switches = {
    ...state.switches,
    ...rest,
    ...(apiKeys === undefined ? {} : { apiKeys: apiKeys ?? undefined }),
    ...(upgradeRefusal === undefined ? {} : { upgradeRefusal: upgradeRefusal ?? undefined }),
    ...(script === undefined ? {} : { script: agent(script) }),
  }
  const faults: Readonly<FaultQueue> = failNext ?? []
  state.faults.push(...faults)
  return json("{}")
}

const summary = ({ connection, context, newItems, status, transport, uplinkBytes }: TurnRecord) => ({
  transport,
  connection,
  status,
  newItems,
  contextItems: context.length,
  uplinkBytes,
})

/** Leaves out the headers, which hold tokens. */
const connectionSummary = ({ closeCode, models, open, openedAt, ordinal, pings, token }: ConnectionRecord) => ({
  ordinal,
  token,
  models,
  openedAt,
  pings,
  open,
  closeCode,
})

/** Answers a request below `/simulator/`. */
export const handleControl = (state: SimulatorState, request: Request, url: URL): Response | Promise<Response> => {
  const asked = `${request.method} ${url.pathname}`
  if (asked === "GET /simulator/stats") return json(JSON.stringify(state.counters))
  if (asked === "GET /simulator/turns") return json(JSON.stringify(state.turns.map(summary)))
  if (asked === "GET /simulator/connections") return json(JSON.stringify(state.connections.map(connectionSummary)))
  if (asked === "POST /simulator/reset") {
    resetState(state)
    return json("{}")
  }
  if (asked === "POST /simulator/configure") return request.text().then((text) => configure(state, text))
  return refused(invalid(`Invalid URL (${asked})`, { status: 404 }))
}
