/**
 * Who asked for a socket, and how: what of its upgrade each of its turns has. There may be thousands that say nothing, so
 * this is one object with methods, and what they do is the service's, once for all.
 */
import type { Effect } from "effect"
import type { Settings } from "../../config/Settings.ts"
import type { Caller } from "../../turn/Caller.ts"
import type { TurnRequest } from "../../turn/Executor.ts"
import type { Turns } from "../../turn/Turns.ts"
import type { Place } from "../Admission.ts"
import type { ApiError } from "../ApiError.ts"
import type { RequestHeaders } from "../Session.ts"

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

/** What the service does for all of its sockets. */
export interface Service {
  readonly settings: Settings["Service"]
  readonly turns: Turns["Service"]
  readonly run: (effect: Effect.Effect<void>) => void
  readonly now: () => number
  readonly enter: (asked: Asked) => Effect.Effect<Place, ApiError>
  readonly read: (asked: Asked, message: Message) => Effect.Effect<TurnRequest, ApiError>
  readonly remember: (scope: string, headers: Readonly<Record<string, string>>) => void
  readonly refused: (asked: Asked, error: ApiError) => void
  readonly ended: (asked: Asked) => void
}

interface Upgraded {
  readonly scope: string | undefined
  /** For the log. */
  readonly label: Caller["label"]
  readonly callerOf: (headers: RequestHeaders) => Effect.Effect<Caller, ApiError>
  readonly headers: RequestHeaders
  readonly query: string
  readonly client: string | undefined
}

export class Asked implements Upgraded, ConnectionOptions {
  readonly scope: string | undefined
  readonly label: Caller["label"]
  readonly callerOf: (headers: RequestHeaders) => Effect.Effect<Caller, ApiError>
  readonly headers: RequestHeaders
  readonly query: string
  readonly client: string | undefined
  readonly #service: Service

  constructor(service: Service, { callerOf, client, headers, label, query, scope }: Upgraded) {
    this.#service = service
    this.scope = scope
    this.label = label
    this.callerOf = callerOf
    this.headers = headers
    this.query = query
    this.client = client
  }

  get maxBody() {
    return this.#service.settings.maxBody
  }

  get maxBuffered() {
    return this.#service.settings.maxBuffered
  }

  get ownAnchors() {
    return this.#service.settings.downstreamAnchors === "socket"
  }

  get turns() {
    return this.#service.turns
  }

  get enter() {
    return this.#service.enter(this)
  }

  now() {
    return this.#service.now()
  }

  run(effect: Effect.Effect<void>) {
    this.#service.run(effect)
  }

  read(message: Message) {
    return this.#service.read(this, message)
  }

  headed(headers: Readonly<Record<string, string>>) {
    this.#service.remember(this.scope ?? "", headers)
  }

  refused(error: ApiError) {
    this.#service.refused(this, error)
  }

  ended() {
    this.#service.ended(this)
  }
}
