/**
 * What is known of a turn once it is over: one value, of which the log, the metrics and the traces are made.
 *
 * It holds no content of the conversation and no credential.
 */
import type { Usage } from "./Usage.ts"
import type { TurnRequest, TurnRoute } from "../Executor.ts"

/** What the client was told at the turn's end, as the front says that answered it. */
export interface Told {
  /** The HTTP status, or the one that an `error` frame of a socket names. */
  readonly status: number
  /** True: the answer had begun with a status of success, and ended in an error. */
  readonly inStream: boolean
}

/** A turn that runs. */
export interface RunningTurn {
  readonly turn: TurnRequest
  /** How its latest attempt travels; undefined until that is about to be sent. */
  readonly way: TurnRoute | undefined
  /** How many events its client was sent. */
  readonly events: number
}

export interface TurnRecord extends RunningTurn {
  /** The model that the client named; undefined: none that can be shown. */
  readonly model: string | undefined
  /** The terminal event's word (`completed`), the error's reason, or `cancelled`: one of a bounded set. */
  readonly outcome: string
  /** Undefined: the client had left, or the front does not say. */
  readonly told: Told | undefined
  /** The status and the code that the upstream gave its refusal, where it refused. */
  readonly upstreamStatus: number | undefined
  readonly upstreamCode: string | undefined
  /** Undefined: the upstream told none. */
  readonly usage: Usage | undefined
  /** True: the request goes on with what a model said before. */
  readonly followsUp: boolean
  /** The bytes of the request's `input`: as the client sent it, and as all attempts sent it upstream. */
  readonly clientInputBytes: number
  readonly upstreamInputBytes: number
  /** How many attempts were made. */
  readonly attempts: number
  /** In milliseconds since the request came in: until its connection was had, its first event came, and it was over. */
  readonly leaseMs: number | undefined
  readonly firstMs: number | undefined
  readonly totalMs: number
}
