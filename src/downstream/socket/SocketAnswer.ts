/**
 * A turn's answer as text frames of a client's socket: each event as the upstream wrote it, with the name of its lane.
 */
import type { TurnSink } from "../../turn/Executor.ts"
import { isTerminal, textAt } from "../../wire/Event.ts"
import type { Outbox, Outgoing } from "./Outbox.ts"

export interface AnswerLane {
  readonly outbox: Outbox
  readonly waiting: Outgoing
  /** Undefined: the default lane, whose frames name none. */
  readonly streamId: string | undefined
  /** Called with headers of the upstream that concern the client's connection. */
  readonly headed: (headers: Readonly<Record<string, string>>) => void
}

export class SocketAnswer implements TurnSink {
  // What every event needs comes first, so that it lies together in memory.
  readonly #outbox: Outbox
  readonly #waiting: Outgoing
  readonly #suffix: string
  #lastType = ""
  /** The event that named the response, the latest one where a steered response has a successor. */
  #created: string | undefined
  readonly #headed: AnswerLane["headed"]

  constructor({ headed, outbox, streamId, waiting }: AnswerLane) {
    this.#outbox = outbox
    this.#waiting = waiting
    // A lane's name has no character that JSON would escape.
    this.#suffix = streamId === undefined ? "" : `,"stream_id":"${streamId}"}`
    this.#headed = headed
  }

  /** The client has been sent an event. */
  get begun(): boolean {
    return this.#lastType !== ""
  }

  /** The client has been told that the turn is over. */
  get ended(): boolean {
    return isTerminal(this.#lastType)
  }

  /** The id of the response that runs, as the client was told it. */
  get responseId(): string | undefined {
    const id = this.#created === undefined ? undefined : textAt(this.#created, ["response", "id"])
    const value: unknown = id === undefined ? undefined : JSON.parse(id)
    return typeof value === "string" ? value : undefined
  }

  route() {}

  head(headers: Readonly<Record<string, string>>) {
    this.#headed(headers)
  }

  event(type: string, text: string): boolean {
    if (type !== this.#lastType) {
      this.#lastType = type
      if (type === "response.created") this.#created = text
    }
    const suffix = this.#suffix
    return this.#outbox.put(this.#waiting, suffix === "" ? text : `${text.slice(0, text.lastIndexOf("}"))}${suffix}`)
  }

  onDrain(resume: () => void, taken: () => void) {
    this.#waiting.drained = resume
    this.#waiting.taken = taken
  }
}
