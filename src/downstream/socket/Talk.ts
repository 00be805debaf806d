/**
 * What a client's socket holds once it was talked on. Sockets on which nothing was said, of which there may be thousands,
 * hold none of it.
 */
import type { Fiber } from "effect"
import type { TurnEnd, TurnRequest } from "../../turn/Executor.ts"
import type { Steering } from "../../turn/Steering.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import type { Place } from "../Admission.ts"
import type { ConnectionOptions } from "./Asked.ts"
import type { Create } from "./ClientEvent.ts"
import type { ClientSocket } from "./ClientSocket.ts"
import { Lanes } from "./Lanes.ts"
import { Outbox, outgoing } from "./Outbox.ts"
import { OwnResponses } from "./OwnResponses.ts"
import type { SocketAnswer } from "./SocketAnswer.ts"

export interface Waiting {
  readonly turn: TurnRequest
  readonly event: Create
  readonly place: Place
  readonly bytes: number
}

export interface Running {
  readonly answer: SocketAnswer
  readonly steering: Steering
  fiber: Fiber.Fiber<TurnEnd, TurnError> | undefined
}

export class Talk {
  readonly inbox: Array<string> = []
  readonly own = new OwnResponses()
  readonly control = outgoing()
  readonly lanes: Lanes<Waiting, Running>
  readonly outbox: Outbox

  constructor(socket: ClientSocket, { maxBody, maxBuffered }: ConnectionOptions) {
    this.lanes = new Lanes(maxBody)
    this.outbox = new Outbox(socket, maxBuffered)
  }
}
