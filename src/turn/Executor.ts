/**
 * The contract of everything that can carry a turn to an upstream: one effect per turn, events to a plain callback.
 *
 * The effect is the turn's lifetime. It succeeds at the terminal event, fails with a `TurnError`, and interrupting it is
 * the cancel: whatever it had leased is evicted and terminated. Events are handed on synchronously from where the
 * transport received them, so an event costs no fiber; a sink must not throw and must not block.
 */
import type { Effect } from "effect"
import { Context, Schema } from "effect"
import type { RequestBody } from "../wire/RequestBody.ts"
import type { Caller } from "./Caller.ts"
import type { TurnError } from "./TurnError.ts"

/** One Responses request, with what respool knows about who sent it. `Intake` makes it of a request's bytes. */
export interface TurnRequest {
  /** This turn's alone, made by respool when the request came in. */
  readonly turnId: string
  /** What the client calls its request, or else the turn's id; it is repeated in the answer and in the log. */
  readonly id: string
  /** When the request came in, in milliseconds of the clock: what the time for the whole turn counts from. */
  readonly startedAt: number
  readonly body: RequestBody
  /** The query of the client's URL, with its `?`; upstreams may take their version there. */
  readonly query: string
  /** True: the client reads SSE. False: it waits for the final response object. */
  readonly stream: boolean
  readonly caller: Caller
  /** Undefined: the client named none, or its caller is not known. */
  readonly session: Session | undefined
  /** The client's headers, lower case; the executors forward only what their allow-list names. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Sees each event before it goes out. */
  readonly observe?: (type: string, text: string) => void
}

/** A conversation as its client names it. */
export interface Session {
  /** The name inside the caller's scope, so that no other caller can name the same session. */
  readonly key: string
  /** The client's own name of it, for the log. */
  readonly name: string
}

/** How an attempt travels. A second call for one turn means that the first way came to nothing. */
export const TurnRoute = Schema.Struct({
  /** The upstream's name. */
  upstream: Schema.String,
  transport: Schema.Literals(["websocket", "http"]),
  connection: Schema.Literals(["new", "reused"]),
  input: Schema.Literals(["suffix", "full"]),
  /** The plan's or the fallback's named reason. */
  reason: Schema.String,
  /** Which physical connection, for the log; 0 where there is none to name. */
  connectionId: Schema.Number,
  /** Input items that are sent, of all that the client sent. */
  itemsSent: Schema.Number,
  items: Schema.Number,
  /** Request payload, in bytes. */
  bytesUp: Schema.Number,
})
export type TurnRoute = typeof TurnRoute.Type

export interface TurnSink {
  /** Called before the request is sent. */
  readonly route: (route: TurnRoute) => void
  /** The upstream's answer headers, where the transport has them per turn. */
  readonly head: (headers: Readonly<Record<string, string>>) => void
  /** One event. False: the reader is behind, please pause; `onDrain` tells when it has caught up. */
  readonly event: (type: string, text: string) => boolean
  readonly onDrain: (resume: () => void, taken: () => void) => void
}

/** How the upstream ended the turn. */
export const TurnEnd = Schema.Struct({
  /** The terminal event's. */
  type: Schema.String,
  responseId: Schema.UndefinedOr(Schema.String),
  /** Raw JSON texts of the finished output items, in output order. */
  output: Schema.Array(Schema.String),
})
export type TurnEnd = typeof TurnEnd.Type

export interface TurnExecutor {
  readonly execute: (turn: TurnRequest, sink: TurnSink) => Effect.Effect<TurnEnd, TurnError>
}

/** What runs the turns calls it. Which transports stand behind it is decided by the layer. */
export class Executor extends Context.Service<Executor, TurnExecutor>()("respool/turn/Executor") {}
