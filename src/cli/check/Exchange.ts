/**
 * Speaks with an upstream over a socket: one request at a time, and how each ended.
 *
 * The socket belongs to the `Scope` in which it was opened. Events before a turn's end are read over.
 */
import { Effect, Option, Schema } from "effect"
import { errorOf } from "../../wire/UpstreamError.ts"
import { eventType, isTerminal } from "../../wire/Event.ts"
import type { DialRequest } from "../../upstream/dialer/Dialer.ts"
import { Dialer } from "../../upstream/dialer/Dialer.ts"

/** How a request ended. `message` may repeat what the upstream said. */
export type Ended =
  | { readonly _tag: "Answered"; readonly id: string }
  | {
      readonly _tag: "Refused"
      readonly status: number
      readonly code: string
      readonly param: string
      readonly message: string
    }
  | { readonly _tag: "Lost"; readonly message: string }

export interface Exchange {
  readonly ask: (event: Readonly<Record<string, unknown>>) => Effect.Effect<Ended>
}

const Terminal = Schema.fromJsonString(
  Schema.Struct({
    response: Schema.Struct({
      id: Schema.String,
      error: Schema.optionalKey(
        Schema.NullOr(
          Schema.Struct({ code: Schema.optionalKey(Schema.String), message: Schema.optionalKey(Schema.String) }),
        ),
      ),
    }),
  }),
)
const decodeTerminal = Schema.decodeUnknownOption(Terminal)

/** Undefined: more must come. */
const endedBy = (text: string): Ended | undefined => {
  const type = eventType(text)
  if (type === undefined) return { _tag: "Lost", message: "what came is no event" }
  if (!isTerminal(type)) return undefined
  const error = errorOf(text)
  if (error !== undefined) {
    const { code = "", message, param = "", status } = error
    return { _tag: "Refused", status, code, param, message }
  }
  const end = decodeTerminal(text)
  if (Option.isNone(end)) return { _tag: "Lost", message: `the event ${type} carries no response with an id` }
  const { error: failure, id } = end.value.response
  // An answer that was cut at the few tokens asked for is as good as a whole one.
  if (type === "response.completed" || type === "response.incomplete") return { _tag: "Answered", id }
  return { _tag: "Refused", status: 500, code: failure?.code ?? "", param: "", message: failure?.message ?? type }
}

const encoder = new TextEncoder()

export const openExchange = Effect.fnUntraced(function* (request: DialRequest) {
  const dialer = yield* Dialer
  let lost: Ended | undefined
  let tell: (ended: Ended) => void = () => {}
  const lose = (message: string) => {
    lost ??= { _tag: "Lost", message }
    tell(lost)
  }
  const socket = yield* dialer.dial(request, {
    onText: (text) => {
      const ended = endedBy(text)
      if (ended !== undefined) tell(ended)
    },
    onAlive: () => {},
    onBinary: () => lose("a binary message came, which the protocol does not have"),
    onOverflow: () => lose("a message came that is too long"),
    onViolation: () => lose("a frame came that no WebSocket may send"),
    onClose: (code) => lose(`the connection was closed (${code})`),
  })
  const exchange: Exchange = {
    ask: (event) =>
      Effect.callback<Ended>((resume) => {
        tell = (ended) => resume(Effect.succeed(ended))
        if (lost !== undefined) return tell(lost)
        if (!socket.send(encoder.encode(JSON.stringify(event)))) lose("the connection had gone")
      }),
  }
  return exchange
})
