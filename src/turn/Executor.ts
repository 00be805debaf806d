/**
 * The contract of everything that can carry a turn to an upstream: one effect per turn, events to a plain callback.
 *
 * The effect is the turn's lifetime. It succeeds at the terminal event, fails with a `TurnError`, and interrupting it is
 * the cancel: whatever it had leased is evicted and terminated. Events are handed on synchronously from where the
 * transport received them, so an event costs no fiber; a sink must not throw and must not block.
 */
import type { Effect, Redacted } from "effect"
import { Context } from "effect"
import type { RequestBody } from "../wire/RequestBody.ts"
import type { KnownHead } from "./memory/BodyHeads.ts"
import type { TurnError } from "./TurnError.ts"

/** One Responses request, with what respool knows about who sent it. */
export interface TurnRequest {
  readonly id: string
  /** When the request came in, in milliseconds of the clock: what the time for the whole turn counts from. */
  readonly startedAt: number
  readonly body: RequestBody
  /** How the body begins, if that is to be remembered: `known` is what was known already, so that only the rest was read. */
  readonly head?: { readonly line: string; readonly known: KnownHead | undefined }
  /** The query of the client's URL, with its `?`; upstreams may take their version there. */
  readonly query: string
  /** True: the client reads SSE. False: it waits for the final response object. */
  readonly stream: boolean
  /** Who asks, as far as reuse is concerned; undefined: nobody known, so nothing is pooled. */
  readonly scope: string | undefined
  /** The scope for people to read. */
  readonly scopeLabel: string
  /** The session's key inside the scope, and the client's own name of it. */
  readonly session: string | undefined
  readonly sessionName: string | undefined
  /** Value of the upstream's `authorization` header, and a digest that stands for it. */
  readonly credential: Redacted.Redacted<string> | undefined
  readonly credentialId: string
  /** The client's headers, lower case; the executors forward only what their allow-list names. */
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** How an attempt travels. A second call for one turn means that the first way came to nothing. */
export interface TurnRoute {
  /** The upstream's name. */
  readonly upstream: string
  readonly transport: "websocket" | "http"
  readonly connection: "new" | "reused"
  readonly input: "suffix" | "full"
  /** The plan's or the fallback's named reason. */
  readonly reason: string
  /** Which physical connection, for the log; 0 where there is none to name. */
  readonly connectionId: number
  /** Input items that are sent, of all that the client sent. */
  readonly itemsSent: number
  readonly items: number
  /** Request payload, in bytes. */
  readonly bytesUp: number
}

export interface TurnSink {
  /** Called before the request is sent. */
  readonly route: (route: TurnRoute) => void
  /** The upstream's answer headers, where the transport has them per turn. */
  readonly head: (headers: Readonly<Record<string, string>>) => void
  /** One event. False: the reader is behind, please pause; `onDrain` tells when it has caught up. */
  readonly event: (type: string, text: string) => boolean
  readonly onDrain: (resume: () => void, taken: () => void) => void
}

/** The same sink, with somebody who sees each event before it goes on. */
export const withObserver = (sink: TurnSink, observe: (type: string, text: string) => void): TurnSink => ({
  route: (route) => sink.route(route),
  head: (headers) => sink.head(headers),
  event: (type, text) => {
    observe(type, text)
    return sink.event(type, text)
  },
  onDrain: (resume, taken) => sink.onDrain(resume, taken),
})

/** How the upstream ended the turn; `type` is the terminal event's. */
export interface TurnEnd {
  readonly type: string
  readonly responseId: string | undefined
  /** Raw JSON texts of the finished output items, in output order. */
  readonly output: ReadonlyArray<string>
}

export interface TurnExecutor {
  readonly execute: (turn: TurnRequest, sink: TurnSink) => Effect.Effect<TurnEnd, TurnError>
}

/** What the handlers call. Which transports stand behind it is decided by the layer. */
export class Executor extends Context.Service<Executor, TurnExecutor>()("respool/turn/Executor") {}
