/**
 * The contract of everything that can carry a turn to an upstream: one effect per turn, events to a plain callback.
 *
 * The effect is the turn's lifetime. It succeeds at the terminal event or fails with a `TurnError`. Interrupting it
 * cancels the turn: a connection that it had leased is evicted and terminated. Events are handed on synchronously from
 * the transport's callback, so an event costs no fiber; a sink must not throw and must not block.
 */
import type { Effect } from "effect"
import { Context, Schema } from "effect"
import type { RequestBody } from "../wire/RequestBody.ts"
import type { Caller } from "./Caller.ts"
import type { Steering } from "./Steering.ts"
import type { TurnError } from "./TurnError.ts"

/**
 * One request of the Responses API, with what respool knows about its caller. `Intake` makes it of a request's bytes.
 */
export interface TurnRequest {
  /** The turn's unique id, made by respool when the request came in. */
  readonly turnId: string
  /** The client's name for its request, or else the turn's id; it is repeated in the answer and in the log. */
  readonly id: string
  /** When the request came in, as `monotonicMillis` has it: the time for the whole turn counts from here. */
  readonly startedAt: number
  readonly body: RequestBody
  /**
   * Tells how many bytes the turn holds beside its body and what tells where its items lie. False: there is no room for
   * them, and it must not hold them. Undefined: nobody counts them.
   */
  readonly holds?: (bytes: number) => boolean
  /** The query of the client's URL, with its `?`; upstreams may take their version there. */
  readonly query: string
  /** True: the client reads SSE. False: it waits for the final response object. */
  readonly stream: boolean
  readonly caller: Caller
  /** Undefined: the client named none, or its caller is not known. */
  readonly session: Session | undefined
  /** The client's headers, names in lower case; the executors forward only those that their allow-list names. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Called with each event before it goes to the client. */
  readonly observe?: (type: string, text: string) => void
  /** What its caller may read of the upstream's answer; undefined: all of it. */
  readonly view?: TurnView
  /** What the upstream is told of the turn's trace, as headers; undefined: it is not traced. */
  readonly trace?: Readonly<Record<string, string>>
  /** The client's address; undefined: the front does not know it. */
  readonly client?: string | undefined
  /** What a client's own socket adds to the request; undefined: it came another way. */
  readonly clientSocket?: OnClientSocket
}

/** A turn that a client asked for on a socket. */
interface OnClientSocket {
  /** Members of the body that are no part of the request, and go to no upstream. */
  readonly omit: ReadonlySet<string>
  /** True: the upstream only gets ready for the request, and the response is empty. */
  readonly warmUp: boolean
  /** The `previous_response_id` that the client sent, which the body may say in full instead. */
  readonly anchor: string | undefined
  readonly steering: Steering
}

/** The upstream's answer as a caller may read it. */
export interface TurnView {
  readonly head: (headers: Readonly<Record<string, string>>) => Readonly<Record<string, string>>
  /** Undefined: the event is not for the caller. */
  readonly event: (type: string, text: string) => string | undefined
  readonly failure: (error: TurnError) => TurnError
}

/** A conversation as its client names it. */
export interface Session {
  /** The name inside the caller's scope, so that no other caller can name the same session. */
  readonly key: string
  /** The name as the client wrote it, for the log. */
  readonly name: string
}

/** How an attempt travels. A second route of one turn means that the attempt before failed. */
export const TurnRoute = Schema.Struct({
  /** The upstream's name. */
  upstream: Schema.String,
  transport: Schema.Literals(["websocket", "http"]),
  connection: Schema.Literals(["new", "reused"]),
  input: Schema.Literals(["suffix", "full"]),
  /** The named reason of the plan or of the fallback. */
  reason: Schema.String,
  /** The number of the connection, for the log; 0 over HTTP, where it is not known. */
  connectionId: Schema.Number,
  /** What is another than in what is remembered, where `reason` says that something is. No content. */
  changed: Schema.optional(
    Schema.Struct({
      /** The index in `input` of the first item that differs. */
      item: Schema.optional(Schema.Number),
      /** That item's type, of a message with the role; `end`: the input ends before it. */
      kind: Schema.optional(Schema.String),
      /** The names of the members that differ, of those that decide. */
      members: Schema.optional(Schema.Array(Schema.String)),
    }),
  ),
  /** How many input items are sent upstream; `items` is how many the client sent. */
  itemsSent: Schema.Number,
  items: Schema.Number,
  /** How long the dial of a new connection took, in milliseconds. */
  dialMs: Schema.optional(Schema.Number),
  /** In a cluster, the node that it runs on: host and port. */
  node: Schema.optional(Schema.String),
  /** In a cluster, why it does not run on the node that owns its session: one of a bounded set. */
  takeover: Schema.optional(Schema.String),
  /** The size of the request that is sent upstream, in bytes, and of its `input`. */
  bytesUp: Schema.Number,
  inputBytes: Schema.Number,
})
export type TurnRoute = typeof TurnRoute.Type

export interface TurnSink {
  /** Called before the request is sent. */
  readonly route: (route: TurnRoute) => void
  /** The headers of the upstream's answer, where the transport has them per turn. */
  readonly head: (headers: Readonly<Record<string, string>>) => void
  /** Takes one event. False: the client is behind, so the upstream should pause; `onDrain` tells when to go on. */
  readonly event: (type: string, text: string) => boolean
  /** Calls `resume` once the client has caught up, and `taken` when it has taken some of what waits for it. */
  readonly onDrain: (resume: () => void, taken: () => void) => void
}

/** How the upstream ended the turn. */
export const TurnEnd = Schema.Struct({
  /** The type of the terminal event. */
  type: Schema.String,
  responseId: Schema.UndefinedOr(Schema.String),
  /** Raw JSON texts of the finished output items, in output order. */
  output: Schema.Array(Schema.String),
  /** What the turn used, in tokens; absent: the upstream does not say. */
  usage: Schema.optional(
    Schema.Struct({ input: Schema.Number, cached: Schema.Number, output: Schema.Number, reasoning: Schema.Number }),
  ),
  /** The code of a response that failed. */
  code: Schema.optional(Schema.String),
})
export type TurnEnd = typeof TurnEnd.Type

export interface TurnExecutor {
  readonly execute: (turn: TurnRequest, sink: TurnSink) => Effect.Effect<TurnEnd, TurnError>
}

/** The executor that `Turns` runs turns with. The layer decides which transports it uses. */
export class Executor extends Context.Service<Executor, TurnExecutor>()("respool/turn/Executor") {}
