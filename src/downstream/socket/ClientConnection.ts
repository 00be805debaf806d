/**
 * One client's socket: what it asks for becomes turns, lane by lane, and their events its frames.
 *
 * Messages are read in the order in which they came. Each `response.create` that is taken up gets exactly one end: its
 * terminal event or one error frame. A client that goes away ends its turns, as over HTTP. Errors never close the
 * socket, but for a caller that is not let in any more.
 */
import { Cause, Effect, Exit, Fiber } from "effect"
import type { TurnEnd, TurnRequest } from "../../turn/Executor.ts"
import { inSlices } from "../../turn/Slices.ts"
import { Steering } from "../../turn/Steering.ts"
import type { Told } from "../../turn/record/TurnRecord.ts"
import type { TurnError } from "../../turn/TurnError.ts"
import { failureOf } from "../../turn/TurnError.ts"
import type { Place } from "../Admission.ts"
import { tooMuch } from "../Admission.ts"
import type { ApiError } from "../ApiError.ts"
import type { Addressed, Create, Refused, Steer } from "./ClientEvent.ts"
import { addressIn, clientEvent, encoded, expanded, nobody, ofTheSocket } from "./ClientEvent.ts"
import type { ClientPeer, ClientSocket } from "./ClientSocket.ts"
import { failureFrame, refusalFrame } from "./ErrorFrame.ts"
import type { Lane } from "./Lanes.ts"
import type { ConnectionOptions } from "./Asked.ts"
import { messageTooLarge, notFound, notText, serverStops, tooManyLanes, tooManyWait } from "./Refusals.ts"
import { SocketAnswer } from "./SocketAnswer.ts"
import type { Running, Waiting } from "./Talk.ts"
import { Talk } from "./Talk.ts"
import { steerFailed, steerFrame, steerProblem } from "./SteerFrames.ts"

export class ClientConnection implements ClientPeer {
  /** When the client last showed a sign of life, in milliseconds of the clock. */
  aliveAt: number
  #busyAt: number
  #socket: ClientSocket | undefined
  /** Undefined: nothing was asked for so far, and nothing said. */
  #talk: Talk | undefined
  #reading = false
  #pumping = false
  /** Set once no new turn is taken up: the error that says why, and how the socket is closed. */
  #leaving: { readonly error: ApiError; readonly code: number } | undefined
  readonly #options: ConnectionOptions

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.aliveAt = this.#busyAt = options.now()
  }

  /** Since when nothing was asked for; undefined: a turn runs. */
  get idleSince(): number | undefined {
    return this.#running > 0 ? undefined : this.#busyAt
  }

  get #running(): number {
    return this.#talk?.lanes.running ?? 0
  }

  get #talking(): Talk {
    return (this.#talk ??= new Talk(this.#socket as ClientSocket, this.#options))
  }

  opened(socket: ClientSocket) {
    this.#socket = socket
    if (this.#leaving !== undefined) this.#finish()
  }

  received(message: string | Uint8Array) {
    this.alive()
    this.#busyAt = this.aliveAt
    if (typeof message !== "string") return void this.#refuse(notText, nobody)
    this.#talking.inbox.push(message)
    if (this.#reading) return
    this.#reading = true
    this.#options.run(this.#readAll())
  }

  alive() {
    this.aliveAt = this.#options.now()
  }

  drained() {
    this.#talk?.outbox.drained()
  }

  ping() {
    this.#socket?.ping()
  }

  closed(tooLarge = false) {
    if (tooLarge) this.#options.refused(messageTooLarge)
    this.#talk?.outbox.closed()
    this.#socket = undefined
    if (this.#talk !== undefined) {
      this.#talk.inbox.length = 0
      for (const { waiting } of this.#talk.lanes.clear()) waiting.place.release()
      for (const { running } of this.#talk.lanes.all()) running?.fiber?.interruptUnsafe()
    }
    this.#options.ended()
  }

  leave() {
    this.close(1001, serverStops)
  }

  /** Takes up no turn any more, and closes the socket when none runs. */
  close(code: number, error: ApiError) {
    this.#leaving ??= { code, error }
    for (const { lane, waiting } of this.#talk?.lanes.clear() ?? []) {
      waiting.place.release()
      this.#send(lane, refusalFrame(this.#leaving.error, waiting.event))
    }
    this.#finish()
  }

  /** Ends the turns that run, which tells the client so, and then closes the socket. */
  stop(): Effect.Effect<void> {
    this.leave()
    const fibers = [...(this.#talk?.lanes.all() ?? [])].flatMap(({ running }) => running?.fiber ?? [])
    return Effect.asVoid(Fiber.interruptAll(fibers))
  }

  terminate() {
    this.#socket?.terminate()
  }

  #readAll(): Effect.Effect<void> {
    const text = this.#talking.inbox.shift()
    if (text !== undefined) return Effect.andThen(this.#arrived(text), () => this.#readAll())
    this.#reading = false
    this.#finish()
    return Effect.void
  }

  #arrived(text: string): Effect.Effect<void> {
    const size = Buffer.byteLength(text)
    const options = this.#options
    const startedAt = options.now()
    return Effect.flatMap(options.enter, ({ holds, release }) => {
      const turn = Effect.flatMap(inSlices(encoded(text, size)), (bytes) => options.read({ bytes, startedAt, holds }))
      const taken = Effect.flatMap(holds(size) ? turn : Effect.fail(tooMuch), (turn) =>
        this.#take(turn, { holds, release }),
      )
      return taken.pipe(
        Effect.map((isTaken) => (isTaken ? undefined : release())),
        Effect.onError(() => Effect.sync(release)),
      )
    }).pipe(
      Effect.catch((error) =>
        Effect.map(inSlices(addressIn(text, size)), (to) => {
          this.#refuse(error, to)
          // The caller was let in before, and is not any more.
          if (error.status === 401 || error.status === 403) this.close(1008, error)
        }),
      ),
    )
  }

  /** False: the message is done with. */
  #take(turn: TurnRequest, place: Place): Effect.Effect<boolean> {
    const event = clientEvent(turn.body)
    if (event._tag === "Steer") return Effect.map(inSlices(steerFrame(turn.body)), (it) => this.#steer(turn, event, it))
    return Effect.sync(() => this.#socket !== undefined && this.#queue(turn, place, event))
  }

  #queue(turn: TurnRequest, place: Place, event: Create | Refused): boolean {
    const error = event._tag === "Refused" ? event.error : this.#leaving?.error
    if (error !== undefined || event._tag === "Refused") return this.#refuse(error ?? notText, event)
    const lane = this.#talking.lanes.lane(event.streamId)
    if (lane === undefined) return this.#refuse(tooManyLanes, event)
    const waiting = { turn, event, place, bytes: turn.body.bytes.length }
    if (!this.#talking.lanes.wait(lane, waiting)) return this.#refuse(tooManyWait, event)
    this.#pump()
    return true
  }

  #steer({ body }: TurnRequest, event: Steer, frame: Uint8Array): false {
    const target = [...this.#talking.lanes.all()].find(({ running }) => {
      return event.responseId !== undefined && running?.answer.responseId === event.responseId
    })
    const known = event.responseId !== undefined && this.#talking.own.has(event.responseId)
    const problem = steerProblem(event, { known, running: target?.running !== undefined })
    const isSent = problem === undefined && target?.running?.steering.steer(frame) === true
    if (!isSent) this.#send(target, steerFailed(problem ?? "steering_not_supported", body, event, target?.streamId))
    return false
  }

  /** Starts what may run. A turn may end in the step in which it starts, which must not look again from inside. */
  #pump() {
    if (this.#pumping) return
    this.#pumping = true
    for (let next = this.#talking.lanes.next(); next !== undefined; next = this.#talking.lanes.next()) {
      const { lane, waiting } = next
      const answer = new SocketAnswer({
        outbox: this.#talking.outbox,
        waiting: lane.outgoing,
        streamId: lane.streamId,
        headed: (headers) => this.#options.headed(headers),
      })
      const running: Running = { answer, steering: new Steering(), fiber: undefined }
      this.#talking.lanes.begins(lane, running)
      this.#options.run(this.#start(lane, waiting, running))
    }
    this.#pumping = false
  }

  #start(lane: Lane<Waiting, Running>, waiting: Waiting, running: Running): Effect.Effect<void> {
    const over = (exit: Exit.Exit<TurnEnd, TurnError | ApiError>) => this.#over(lane, waiting, running, exit)
    return Effect.suspend(() => this.#whole(waiting)).pipe(
      Effect.flatMap((turn) => {
        const { anchor, warmUp } = waiting.event
        const clientSocket = { omit: ofTheSocket, warmUp, anchor, steering: running.steering }
        return this.#options.turns.start({ ...turn, clientSocket }, running.answer, over)
      }),
      Effect.map((fiber) => {
        running.fiber = fiber
        if (this.#socket === undefined) fiber.interruptUnsafe()
      }),
      Effect.catch((error) => Effect.sync(() => void over(Exit.fail(error)))),
    )
  }

  /** The turn as it is to be run, or the error for an id that this socket may not continue. */
  #whole({ event, place, turn }: Waiting): Effect.Effect<TurnRequest, ApiError> {
    const { anchor, stored } = event
    if (anchor === undefined) return Effect.succeed(turn)
    if (!stored && this.#options.ownAnchors && !this.#talking.own.has(anchor)) return Effect.fail(notFound(anchor))
    const warmUp = this.#talking.own.warmUp(anchor)
    if (warmUp === undefined) return Effect.succeed(turn)
    // What the client sent stays beside it.
    const holds = (more: number) => place.holds(turn.body.bytes.length + more)
    return Effect.flatMap(inSlices(expanded(warmUp, turn.body)), (bytes) =>
      bytes === undefined ? Effect.succeed(turn) : this.#options.read({ bytes, startedAt: turn.startedAt, holds }),
    )
  }

  #over(
    lane: Lane<Waiting, Running>,
    { event, place, turn }: Waiting,
    { answer }: Running,
    exit: Exit.Exit<TurnEnd, TurnError | ApiError>,
  ): Told | undefined {
    this.#talking.lanes.ended(lane)
    place.release()
    this.#busyAt = this.#options.now()
    this.#talking.own.ended(event, turn.body, exit)
    if (this.#socket === undefined) return undefined
    const status = Exit.isFailure(exit) ? this.#failed(lane, event, answer, exit.cause) : undefined
    this.#pump()
    this.#finish()
    return { status: answer.begun ? 200 : (status ?? 200), inStream: answer.begun && status !== undefined }
  }

  /** Gives the status that the client was told; undefined: the turn had ended for it before. */
  #failed(
    lane: Lane<Waiting, Running>,
    event: Create,
    answer: SocketAnswer,
    cause: Cause.Cause<TurnError | ApiError>,
  ): number | undefined {
    const refused = Cause.findErrorOption(cause)
    if (refused._tag === "Some" && refused.value._tag === "ApiError") {
      this.#refuse(refused.value, event)
      return refused.value.status
    }
    const failure = failureOf(cause as Cause.Cause<TurnError>)
    const frame = answer.ended ? undefined : failureFrame(failure, event)
    if (frame !== undefined) this.#send(lane, frame.text)
    // It has taken nothing for so long that nothing else would reach it either.
    if (failure.reason === "slow_client") this.terminate()
    return frame?.status
  }

  /** False, as the message that it answers is done with. */
  #refuse(error: ApiError, to: Addressed): false {
    this.#options.refused(error)
    this.#send(this.#talking.lanes.find(to.streamId), refusalFrame(error, to))
    return false
  }

  #send(lane: Lane<Waiting, Running> | undefined, text: string) {
    if (this.#socket === undefined) return
    const { control, outbox } = this.#talking
    const waiting = lane?.outgoing ?? control
    outbox.put(waiting, text)
    // Errors have no upstream that could be made to wait.
    if (outbox.isOver(waiting)) this.terminate()
  }

  /** What has arrived is to be refused before the socket closes. */
  #finish() {
    if (this.#leaving === undefined || this.#socket === undefined || this.#running > 0 || this.#reading) return
    this.#talking.outbox.close(this.#leaving.code, this.#leaving.error.code ?? "")
  }
}
