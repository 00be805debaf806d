/**
 * The socket side: one connection, its lanes, and the order in which their turns run.
 *
 * A lane runs one turn at a time, in the order of arrival; at most 16 turns run on a connection, the others wait
 * (docs/protocol.md 1.4). A turn that has nothing to wait for runs to its end inside the callback of its message. The
 * profile says when a connection ends, and what a failed turn does to it.
 */
import type { Fiber } from "effect"
import { Effect } from "effect"
import type { Arrival } from "../request/Arrival.ts"
import { arrivalOf, unheard } from "../request/Arrival.ts"
import type { CreateRequest } from "../request/CreateRequest.ts"
import type { Sink } from "../turn/Play.ts"
import { isImmediate, play, playNow } from "../turn/Play.ts"
import type { Refusal } from "../Refusal.ts"
import { connectionLimitReached, envelope, errorText, invalid, refusalOf } from "../Refusal.ts"
import { modelMismatch, modelOf, readRequest } from "../request/Rules.ts"
import type { ConnectionRecord, Mutable, SimulatorState, TurnRecord } from "../SimulatorState.ts"
import type { Lane } from "../turn/Turn.ts"
import { readSteer, successor, withSteers } from "./Steers.ts"
import { arrive, begin, evict, forget, refuse } from "../turn/Turn.ts"

const maxInFlight = 16
const maxLanes = 32

interface Waiting {
  readonly lane: Lane
  readonly request: CreateRequest
  readonly record: Mutable<TurnRecord>
  readonly faults: Arrival["faults"]
}

/** What belongs to a socket from its upgrade on. */
export interface Connection {
  readonly record: Mutable<ConnectionRecord>
  readonly lanes: Map<string | undefined, Lane>
  readonly waiting: Array<Waiting>
  readonly running: Set<Fiber.Fiber<void>>
  inFlight: number
  /** True while `pump` looks for turns to start: one that ends at once must not make it look again from inside. */
  pumping: boolean
  /** True: no message is read any more. */
  deaf: boolean
  /** When something last came or a turn ended, in milliseconds of the clock. */
  activeAt: number
  socket: Socket | undefined
  readonly timers: Array<Fiber.Fiber<void>>
}

/** One socket, as both platforms have it. */
export interface Socket {
  readonly data: Connection
  readonly send: (text: string) => unknown
  readonly sendBinary: (bytes: Uint8Array<ArrayBuffer>) => unknown
  /** Sends a close frame. */
  readonly close: (code?: number, reason?: string) => void
  /** Ends it without one. */
  readonly terminate: () => void
}

/** Runs turns and timers as fibers of the simulator's scope. */
export interface Runtime {
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** What `Hold` waits for. */
  readonly held: Effect.Effect<void>
}

/** `token` is the label of the token that opens the connection. */
export const makeConnection = (
  state: SimulatorState,
  headers: Readonly<Record<string, string>>,
  token: string | undefined,
): Connection => {
  const record: Mutable<ConnectionRecord> = {
    ordinal: state.dialled++,
    openedAt: state.now(),
    headers,
    token,
    models: [],
    pings: 0,
    open: true,
    closeCode: undefined,
  }
  state.connections.push(record)
  state.counters.upgrades++
  state.counters.openSockets++
  return {
    record,
    lanes: new Map(),
    waiting: [],
    running: new Set(),
    inFlight: 0,
    pumping: false,
    deaf: false,
    activeAt: record.openedAt,
    socket: undefined,
    timers: [],
  }
}

export const makeSockets = (state: SimulatorState, runtime: Runtime) => {
  const { profile } = state

  /** Closes the connection after a failed turn, if the profile does; the codes are in docs/protocol.md 5. */
  const failed = (socket: Socket, status: number): void => {
    if (profile.failedTurn !== "its chain") return
    socket.close(status === 402 ? 4402 : status < 500 ? 1008 : 1011, "the turn failed")
  }

  const say = (socket: Socket, refusal: Refusal, streamId?: string): void => {
    socket.send(envelope(refusal, streamId, profile.errorTypes))
    failed(socket, refusal.status)
  }

  const sinkOf = (socket: Socket): Sink => ({
    send: (frame) => void socket.send(frame.data),
    end: (step) => {
      socket.send(step.frame.data)
      if (step.status === "error" || step.status === "failed") failed(socket, step.refusal?.status ?? 500)
    },
    extra: (frame) => void socket.send(frame.data),
    text: (text) => void socket.send(text),
    binary: () => void socket.sendBinary(new Uint8Array([0, 1, 2, 3])),
    close: (code, reason) => socket.close(code, reason),
    reset: () => socket.terminate(),
    finish: () => socket.close(1000),
    // A turn that has sent its terminal event must free its lane, though it sends nothing more.
    stall: (ended) => ended,
  })

  const start = (socket: Socket, { faults, lane, record, request }: Waiting): void => {
    const connection = socket.data
    const turn = begin(state, record, withSteers(lane, request), lane, connection.lanes.values(), faults)
    if (turn._tag === "Refusal") return say(socket, turn, lane.name)
    state.changed()
    if (isImmediate(turn, state.switches)) return playNow(turn, sinkOf(socket))
    lane.running = true
    lane.responseId = record.responseId
    connection.inFlight++
    const fiber = runtime.fork(
      play(state.switches, turn, sinkOf(socket), runtime.held).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            lane.running = false
            connection.inFlight--
            connection.activeAt = state.now()
          }),
        ),
      ),
    )
    connection.running.add(fiber)
    fiber.addObserver(() => {
      connection.running.delete(fiber)
      const next = connection.record.open ? successor(state, lane, record, (text) => socket.send(text)) : undefined
      if (next !== undefined) connection.waiting.unshift({ ...next, lane, faults: undefined })
      if (connection.record.open) pump(socket)
    })
  }

  const pump = (socket: Socket): void => {
    const connection = socket.data
    if (connection.pumping) return
    connection.pumping = true
    for (;;) {
      if (connection.inFlight >= maxInFlight) break
      const next = connection.waiting.findIndex(({ lane }) => !lane.running)
      const [waiting] = next < 0 ? [] : connection.waiting.splice(next, 1)
      if (waiting === undefined) break
      start(socket, waiting)
    }
    connection.pumping = false
  }

  const laneOf = (connection: Connection, name: string | undefined): Lane | undefined => {
    const known = connection.lanes.get(name)
    if (known !== undefined) return known
    const named = connection.lanes.size - (connection.lanes.has(undefined) ? 1 : 0)
    if (name !== undefined && named >= maxLanes) return undefined
    const lane: Lane = { name, latest: undefined, running: false, responseId: undefined, steers: [] }
    connection.lanes.set(name, lane)
    return lane
  }

  const expire = (socket: Socket): void => {
    if (profile.atMaxAge === "close") return socket.close(1001, "the connection is too old")
    say(socket, connectionLimitReached(Math.round(state.switches.maxConnectionAge / 60_000)))
    socket.close(1000, "connection limit reached")
  }

  const isOld = (connection: Connection): boolean =>
    state.now() - connection.record.openedAt >= state.switches.maxConnectionAge

  const untilIdle = (connection: Connection): Effect.Effect<void> =>
    Effect.suspend(() => {
      const since = connection.inFlight > 0 ? state.now() : connection.activeAt
      const rest = since + profile.maxIdle - state.now()
      return rest <= 0 ? Effect.void : Effect.andThen(Effect.sleep(rest), untilIdle(connection))
    })

  const open = (socket: Socket): void => {
    const connection = socket.data
    connection.socket = socket
    const closes = profile.atMaxAge === "close"
    if (closes || state.switches.announceConnectionLimit) {
      connection.timers.push(
        runtime.fork(
          Effect.sleep(state.switches.maxConnectionAge).pipe(
            Effect.map(() => (closes || connection.inFlight === 0) && expire(socket)),
          ),
        ),
      )
    }
    if (Number.isFinite(profile.maxIdle)) {
      const closeIdle = () => socket.close(1001, "the connection is idle")
      connection.timers.push(runtime.fork(Effect.map(untilIdle(connection), closeIdle)))
    }
    state.changed()
  }

  const ping = ({ data: connection }: Socket): void => {
    connection.activeAt = state.now()
    connection.record.pings++
    state.changed()
  }

  const message = (socket: Socket, text: string | Buffer): void => {
    const connection = socket.data
    connection.activeAt = state.now()
    const arrival = connection.deaf ? unheard : arrivalOf(state.faults)
    connection.deaf = arrival.deaf
    if (arrival.deaf || arrival.unread !== undefined) {
      state.counters.unread++
      state.changed()
      if (arrival.unread === undefined) return
      const { code, reason } = arrival.unread
      return code === undefined ? socket.terminate() : socket.close(code, reason)
    }
    if (typeof text !== "string") return say(socket, invalid("Binary messages are not supported."))
    if (Buffer.byteLength(text) > state.switches.maxMessageBytes) return socket.close(1009, "message too big")
    const steered = readSteer(state, text, connection.lanes.values())
    if (steered !== undefined) return void socket.send(steered)
    const request = readRequest(state, text, "websocket")
    const { headers, ordinal } = connection.record
    const record = arrive(state, { transport: "websocket", connection: ordinal, headers }, text, request)
    if (request._tag === "Refusal") {
      const name = record.request?.stream_id
      const known = profile.lanes && (typeof name === "string" || name === undefined)
      const lane = profile.lanes && !known ? undefined : connection.lanes.get(known ? name : undefined)
      evict(state, lane, record.request?.previous_response_id)
      return say(socket, refuse(state, record, request), lane?.name)
    }
    if (arrival.forget !== undefined) forget(state, connection.lanes.values(), arrival.forget.stored === true)
    if (arrival.refuse !== undefined) {
      evict(state, connection.lanes.get(request.streamId), request.previousResponseId)
      refuse(state, record, refusalOf(arrival.refuse))
      socket.send(errorText(arrival.refuse, 0, request.streamId))
      return failed(socket, arrival.refuse.status)
    }
    if (arrival.limit || isOld(connection)) {
      refuse(state, record, connectionLimitReached(Math.round(state.switches.maxConnectionAge / 60_000)))
      return expire(socket)
    }
    const mismatch = modelMismatch(profile, connection.record.models[0], request)
    if (mismatch !== undefined) {
      evict(state, connection.lanes.get(request.streamId), request.previousResponseId)
      return say(socket, refuse(state, record, mismatch))
    }
    const model = modelOf(request)
    if (model !== undefined && !connection.record.models.includes(model)) {
      connection.record.models = [...connection.record.models, model]
    }
    const lane = laneOf(connection, request.streamId)
    if (lane === undefined) {
      const refusal = invalid(
        `This connection has reached the maximum number of distinct stream IDs (${maxLanes}). Reuse a stream ID or open a new connection.`,
        { code: "websocket_stream_limit_reached", param: "stream_id" },
      )
      return say(socket, refuse(state, record, refusal), request.streamId)
    }
    connection.waiting.push({ lane, request, record, faults: arrival.faults })
    pump(socket)
    state.changed()
  }

  const close = (socket: Socket, code: number): void => {
    const connection = socket.data
    connection.record.open = false
    connection.record.closeCode = code
    state.counters.openSockets--
    for (const { record } of connection.waiting) record.status = "abandoned"
    connection.waiting.length = 0
    state.turnStates.offered.delete(connection.record.ordinal)
    for (const timer of connection.timers) timer.interruptUnsafe()
    for (const fiber of connection.running) fiber.interruptUnsafe()
    state.changed()
  }

  return { open, message, ping, close }
}
