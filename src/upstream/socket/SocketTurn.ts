/**
 * One turn on a leased connection, from its request to its one end: what the socket says goes to the sink as events.
 *
 * All of it happens in the socket's own callbacks, no fiber between. Many turns wait at a time and each has few events a
 * second, so an event finds the caches cold and pays for every object that it touches: the way of a delta is kept short.
 */
import type { Clock } from "effect"
import { Effect } from "effect"
import type { SettingsValues } from "../../config/Settings.ts"
import type { Deadlines } from "../../turn/Deadlines.ts"
import type { TurnEnd, TurnSink } from "../../turn/Executor.ts"
import { OutputCollector } from "../../turn/attempt/OutputCollector.ts"
import type { Refusal } from "../../turn/attempt/Progress.ts"
import { lostAnchorOf, Progress } from "../../turn/attempt/Progress.ts"
import { Silence } from "../../turn/attempt/TurnClock.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { eventType, isTerminal } from "../../wire/Event.ts"
import { errorOf } from "../../wire/UpstreamError.ts"
import type { EvictReason, LeaseListener } from "../pool/ConnectionState.ts"
import type { Lease } from "../pool/Lease.ts"

export interface SocketTurnOptions {
  readonly clock: Clock.Clock
  readonly settings: SettingsValues
  /** When the turn's request came in, in milliseconds of the clock. */
  readonly startedAt: number
  readonly lease: Lease
  readonly sink: TurnSink
  readonly frame: Uint8Array
  /** The input was cut by us to what is new. */
  readonly ownSuffix: boolean
  /** What the connection's last turn was answered with. */
  readonly lastResponseId: string | undefined
  /** Called at the terminal event, before it is handed on. */
  readonly finished: (end: TurnEnd) => void
}

export class SocketTurn implements LeaseListener {
  /** Type of events that say nothing new any more, but are handed on. */
  #passing = ""
  readonly #silence: Silence
  readonly #sink: TurnSink
  #over = false
  #end: (outcome: Effect.Effect<TurnEnd, TurnError>) => void = () => {}
  readonly #progress = new Progress()
  readonly #collector = new OutputCollector()
  readonly #options: SocketTurnOptions

  constructor(options: SocketTurnOptions) {
    this.#options = options
    this.#sink = options.sink
    this.#silence = new Silence(options)
  }

  /** Sends the request, and succeeds with the turn's end. */
  run(deadlines: Deadlines): Effect.Effect<TurnEnd, TurnError> {
    const { frame, lease } = this.#options
    return Effect.callback((resume) => {
      const stop = this.#silence.watch(deadlines, (error) => {
        this.#fail(error.reason === "slow_client" ? "slow_client" : "timeout", error)
      })
      this.#end = (outcome) => {
        stop()
        resume(outcome)
      }
      lease.listen(this)
      if (!lease.send(frame)) {
        const message = "the upstream had closed the connection"
        this.#fail("closed", new TurnError({ reason: "socket_lost_before_send", delivery: "NotSent", message }))
      }
      return Effect.sync(stop)
    })
  }

  onText(text: string) {
    try {
      this.#silence.heard()
      const type = eventType(text)
      const known = type === this.#passing ? type : this.#look(type, text)
      if (known !== undefined && !this.#sink.event(known, text)) this.#pause()
    } catch (cause) {
      // A defect of ours must end this turn alone: thrown on, it would end up in the socket's own callback.
      const message = "the proxy failed"
      this.#fail("failed", new TurnError({ reason: "internal", delivery: "Accepted", message, cause }))
    }
  }

  onLost(reason: EvictReason, detail: string) {
    // A terminal event that evicts the connection has ended the turn itself.
    if (this.#over) return
    const message = detail === "" ? "the connection to the upstream is gone" : detail
    const { delivery } = this.#silence
    const tooBig = reason === "message_too_big" && delivery === "Ambiguous"
    this.#end(
      Effect.fail(
        new TurnError({
          reason: tooBig ? "message_too_big" : (lostReasons[reason] ?? "upstream_closed"),
          delivery: tooBig ? "Rejected" : delivery,
          message,
        }),
      ),
    )
  }

  /** Reads what the turn needs of an event. Gives its type, if it is still to be handed on. */
  #look(type: string | undefined, text: string): string | undefined {
    if (type === undefined) return this.#violated("the upstream sent a frame that is not an event")
    if (type === "error") {
      const error = errorOf(text)
      if (error === undefined) return this.#violated("the upstream sent a frame that is not an event")
      return this.#refused(text, error)
    }
    if (isTerminal(type)) return this.#finish(type, text)
    this.#progress.saw(type)
    this.#collector.add(type, text)
    if (type.endsWith(".delta")) this.#passing = type
    return type
  }

  #finish(type: string, text: string): undefined {
    const { finished, lastResponseId, ownSuffix } = this.#options
    const finish = this.#collector.finish(type, text)
    if (finish === undefined) return this.#violated("the upstream's last event holds no response")
    const { end, event, frame } = finish
    if (end.responseId !== undefined && end.responseId === lastResponseId) {
      return this.#violated("the upstream ended the turn before this one twice")
    }
    const failedAtOnce = ownSuffix && !this.#progress.content && type === "response.failed"
    const lostAnchor = failedAtOnce ? lostAnchorOf(event) : undefined
    if (lostAnchor !== undefined) return this.#refused(text, lostAnchor)
    this.#over = true
    finished(end)
    this.#sink.event(type, frame)
    this.#end(Effect.succeed(end))
  }

  #pause() {
    const { lease } = this.#options
    const silence = this.#silence
    lease.pause()
    silence.paused()
    this.#sink.onDrain(
      () => {
        lease.resume()
        silence.resumed()
      },
      () => silence.taken(),
    )
  }

  #violated(message: string): undefined {
    this.#fail("protocol", new TurnError({ reason: "upstream_protocol", delivery: "Accepted", message }))
  }

  #refused(text: string, refusal: Refusal): undefined {
    this.#fail("failed", this.#progress.refused(text, refusal))
  }

  // The connection first, since the turn's end would evict it for another reason. What the turn hears of that in between
  // is behind `#over`.
  #fail(evict: EvictReason, error: TurnError) {
    this.#over = true
    this.#options.lease.evict(evict)
    this.#end(Effect.fail(error))
  }
}

/** What a connection's end means for the turn that held it. */
const lostReasons: Partial<Record<EvictReason, TurnError["reason"]>> = {
  closed: "upstream_closed",
  protocol: "upstream_protocol",
  overflow: "upstream_protocol",
  unsolicited: "upstream_protocol",
  ping_timeout: "ping_timeout",
  shutdown: "shutdown",
}
