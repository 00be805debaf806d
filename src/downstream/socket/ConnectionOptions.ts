/** The contract between a client's socket and the service that takes it: what the service does for it. */
import type { Effect } from "effect"
import type { TurnRequest } from "../../turn/Executor.ts"
import type { Turns } from "../../turn/Turns.ts"
import type { Place } from "../Admission.ts"
import type { ApiError } from "../ApiError.ts"

/** A client's message; `holds` as in `Place`. */
interface Message {
  readonly bytes: Uint8Array
  readonly startedAt: number
  readonly holds: Place["holds"]
}

/** What a connection needs of the service that owns it. */
export interface ConnectionOptions {
  readonly maxBody: number
  readonly maxBuffered: number
  /** Whether an id that is not stored must be of this socket. */
  readonly ownAnchors: boolean
  readonly now: () => number
  readonly run: (effect: Effect.Effect<void>) => void
  readonly enter: Effect.Effect<Place, ApiError>
  /** Makes a turn of a message, for the caller as it is known now. */
  readonly read: (message: Message) => Effect.Effect<TurnRequest, ApiError>
  readonly turns: Turns["Service"]
  readonly headed: (headers: Readonly<Record<string, string>>) => void
  /** Called with the error of a message that became no turn. */
  readonly refused: (error: ApiError) => void
  readonly ended: () => void
}
