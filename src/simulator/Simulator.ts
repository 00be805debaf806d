/**
 * A strict Responses upstream over HTTP and WebSocket on 127.0.0.1, for tests, demos and benchmarks.
 *
 * It keeps the rules of docs/protocol.md 1.2 to 1.7, and of 5 and 6 for upstreams other than OpenAI, and refuses
 * requests that break them. It reports every turn with the exact text of the context that the model saw, and gives the
 * same answers for the same seed. It shares no code with the proxy that it judges. Closing the layer's scope closes the
 * listener, every socket and every turn.
 */
import { Clock, Context, Deferred, Effect, FiberSet, Layer } from "effect"
import { notAuthorized, notUpgradable, tokenLabel, tokenOf } from "./request/Admission.ts"
import { handleControl } from "./Control.ts"
import type { ArrivalFault } from "./request/Arrival.ts"
import { modelsEtag } from "./turn/ExtraEvents.ts"
import type { Fault } from "./Faults.ts"
import { json, refused } from "./front/HttpAnswers.ts"
import { headersOf, makeHttpApi } from "./front/HttpApi.ts"
import type { ProfileName } from "./Profile.ts"
import { profiles } from "./Profile.ts"
import { invalid } from "./Refusal.ts"
import type { ConnectionRecord, Counters, FaultTurn, SimulatorState, Switches, TurnRecord } from "./SimulatorState.ts"
import { defaultSwitches, makeState, resetState } from "./SimulatorState.ts"
import type { Handlers, Upgrading } from "./front/Listener.ts"
import { listen } from "./front/Platform.ts"
import type { Connection, Runtime } from "./front/Sockets.ts"
import { makeConnection, makeSockets } from "./front/Sockets.ts"
import { offerTurnState, turnStateHeader } from "./turn/TurnState.ts"

/** @stability experimental */
export { tokenLabel }
/** @stability experimental */
export type { ArrivalFault, Fault, FaultTurn, ProfileName }
/** @stability experimental */
export type { ConnectionRecord, Counters, Switches, TurnRecord }
/** @stability experimental */
export { type ClientFault, type ClientOutcome, SimulatedClient, violations } from "./client/SimulatedClient.ts"
/** @stability experimental */
export { agent, type Answer, type Ending, type Part, type Script, type ScriptTurn } from "./Script.ts"

/** @stability experimental */
export interface SimulatorOptions extends Partial<Switches> {
  /** Default 0: any free port. */
  readonly port?: number
  /** Default 1. */
  readonly seed?: number
  /** How many turn records are kept, the latest. Default: all. */
  readonly recordLimit?: number
  /** The upstream to imitate; its limits are the defaults of the switches. Default: `openai`. */
  readonly profile?: ProfileName
  /** The names that `model` may take on `azure`. Default: `gpt-4.1`. */
  readonly deployments?: ReadonlyArray<string>
  /** What `/models` lists. Default: a few of the profile's; on `azure` the deployments. */
  readonly models?: ReadonlyArray<string>
  /** The tokens that are accepted at first, as in `apiKeys`. Default: any. */
  readonly accepts?: ReadonlyArray<string>
}

/** @stability experimental */
export interface SimulatorService {
  /** `http://127.0.0.1:PORT/v1`, or with the profile's own path. */
  readonly url: string
  readonly port: number
  /** Every create request, in the order of arrival; records change until their turn has ended. */
  readonly turns: ReadonlyArray<TurnRecord>
  readonly connections: ReadonlyArray<ConnectionRecord>
  readonly counters: Counters
  readonly switches: Switches
  /** Changes switches from the next upgrade, request or turn on. */
  readonly configure: (switches: Partial<Switches>) => Effect.Effect<void>
  /** Accepts these tokens only, or any again, from the next upgrade or request on; open sockets stay. */
  readonly setAccepted: (tokens: ReadonlyArray<string> | undefined) => Effect.Effect<void>
  /**
   * Gives the next executed turn these faults, or the next request where one of them comes before the turn; calls queue
   * up. An empty list is a turn without faults.
   */
  readonly failNext: (...faults: ReadonlyArray<Fault | ArrivalFault>) => Effect.Effect<void>
  /** Forgets records, counters and queued faults; sockets and conversations stay. */
  readonly reset: Effect.Effect<void>
  /** Lets every turn go on that waits at a `Hold`. */
  readonly release: Effect.Effect<void>
  /** Ends open sockets, all or the one with that ordinal: with a close frame if there is a code, else without. */
  readonly disconnect: (options?: { readonly ordinal?: number; readonly code?: number }) => Effect.Effect<void>
  /** `false` refuses every new connection, as a host without a listener does; open sockets stay. `true` ends that. */
  readonly listen: (on: boolean) => Effect.Effect<void>
  /** Sends a text that no client asked for to one socket, or to all. */
  readonly push: (text: string, ordinal?: number) => Effect.Effect<void>
  /** Waits until the predicate holds; it is asked again after every change. */
  readonly until: (predicate: (simulator: SimulatorService) => boolean) => Effect.Effect<void>
}

interface Waiter {
  readonly predicate: () => boolean
  readonly resume: () => void
}

const make = Effect.fnUntraced(function* (options: SimulatorOptions) {
  const {
    accepts,
    deployments,
    models,
    port = 0,
    profile: name = "openai",
    recordLimit = Number.POSITIVE_INFINITY,
    seed = 1,
    ...switches
  } = options
  const profile = profiles[name]
  const { basePath, maxConnectionAge, maxMessageBytes } = profile
  const clock = yield* Clock.Clock
  const waiters = new Set<Waiter>()
  const state: SimulatorState = makeState({
    seed,
    profile,
    deployments: deployments ?? profile.models,
    models: models ?? (profile.deployments ? deployments : undefined) ?? profile.models,
    recordLimit,
    switches: {
      ...defaultSwitches,
      maxConnectionAge,
      maxMessageBytes,
      ...switches,
      ...(accepts === undefined ? {} : { apiKeys: accepts }),
    },
    now: () => clock.currentTimeMillisUnsafe(),
    changed: () => {
      for (const waiter of waiters) {
        if (!waiter.predicate()) continue
        waiters.delete(waiter)
        waiter.resume()
      }
    },
  })
  const fibers = yield* FiberSet.make<void>()
  const run = yield* FiberSet.runtime(fibers)()
  let hold = Deferred.makeUnsafe<void>()
  const runtime: Runtime = {
    fork: run,
    held: Effect.suspend(() => Deferred.await(hold)),
  }
  const sockets = makeSockets(state, runtime)
  const http = makeHttpApi(state, runtime)
  const open = new Set<Connection>()

  const upgrade = (request: Request, server: Upgrading): Response | undefined | Promise<Response> => {
    const { upgradeHeaders, upgradeRefusal, websocket, websocketOffStatus } = state.switches
    const refuseUpgrade = (response: Response): Response => {
      state.counters.refusedUpgrades++
      state.changed()
      return response
    }
    const { headers } = request
    const unauthorized = notAuthorized(state, headers, "websocket")
    if (unauthorized !== undefined) return refuseUpgrade(refused(unauthorized))
    if (upgradeRefusal !== undefined) {
      const { body, headers, status } = upgradeRefusal
      return refuseUpgrade(
        json(
          body ?? `{"error":{"message":"refused","type":"invalid_request_error","param":null,"code":null}}`,
          status,
          headers,
        ),
      )
    }
    if (websocket === "hang") {
      state.counters.hangingUpgrades++
      state.changed()
      return Promise.withResolvers<Response>().promise
    }
    if (websocket === "off") {
      return refuseUpgrade(refused(invalid("WebSocket is not supported here.", { status: websocketOffStatus })))
    }
    const unfit = notUpgradable(profile, headers)
    if (unfit !== undefined) return refuseUpgrade(refused(unfit))
    const token = tokenOf(profile, headers, "websocket")
    const data = makeConnection(state, headersOf(request), token === undefined ? undefined : tokenLabel(token))
    const profileHeaders = profile.turnState
      ? { [turnStateHeader]: offerTurnState(state, data.record.ordinal), "x-models-etag": modelsEtag }
      : {}
    if (server.upgrade(request, { data, headers: { ...profileHeaders, ...upgradeHeaders } })) return undefined
    data.record.open = false
    state.counters.openSockets--
    return refuseUpgrade(refused(invalid("Not a WebSocket upgrade.")))
  }

  const handlers: Handlers = {
    fetch: (request, server) => {
      const url = new URL(request.url)
      if (url.pathname.startsWith("/simulator/")) return handleControl(state, request, url)
      if (url.pathname === `${basePath}/responses` && request.headers.get("upgrade")?.toLowerCase() === "websocket") {
        return upgrade(request, server)
      }
      const unauthorized = notAuthorized(state, request.headers, "http")
      if (unauthorized !== undefined) return refused(unauthorized)
      return http.handle(request, url)
    },
    open: (socket) => {
      open.add(socket.data)
      sockets.open(socket)
    },
    message: sockets.message,
    ping: sockets.ping,
    close: (socket, code) => {
      open.delete(socket.data)
      sockets.close(socket, code)
    },
  }
  const serve = (port: number) => Effect.promise(() => listen(port, handlers))

  /** At most the first one listens; the others are only kept for sockets that are still open. */
  const servers = yield* Effect.acquireRelease(
    Effect.map(serve(port), (server) => [server]),
    (servers) => Effect.promise(() => Promise.all(servers.map((server) => server.stop(true)))),
  )
  const address = { port: servers[0]?.port ?? 0, listening: true }

  const each = (ordinal: number | undefined, act: (connection: Connection) => void): void => {
    for (const connection of open) {
      if (ordinal === undefined || connection.record.ordinal === ordinal) act(connection)
    }
  }

  const service: SimulatorService = {
    url: `http://127.0.0.1:${address.port}${basePath}`,
    port: address.port,
    get turns() {
      return state.turns
    },
    get connections() {
      return state.connections
    },
    get counters() {
      return state.counters
    },
    get switches() {
      return state.switches
    },
    configure: (changes) =>
      Effect.sync(() => {
        state.switches = { ...state.switches, ...changes }
      }),
    setAccepted: (tokens) =>
      Effect.sync(() => {
        state.switches = { ...state.switches, apiKeys: tokens }
      }),
    failNext: (...faults) =>
      Effect.sync(() => {
        state.faults.push(faults)
      }),
    reset: Effect.sync(() => resetState(state)),
    release: Effect.suspend(() => {
      const waiting = hold
      hold = Deferred.makeUnsafe<void>()
      return Deferred.succeed(waiting, undefined)
    }),
    disconnect: ({ code, ordinal } = {}) =>
      Effect.sync(() =>
        each(ordinal, ({ socket }) => (code === undefined ? socket?.terminate() : socket?.close(code, "disconnected"))),
      ),
    listen: (on) =>
      Effect.suspend(() => {
        if (on === address.listening) return Effect.void
        address.listening = on
        if (on) return Effect.map(serve(address.port), (server) => void servers.unshift(server))
        void servers[0]?.stop(false)
        return Effect.void
      }),
    push: (text, ordinal) => Effect.sync(() => each(ordinal, ({ socket }) => void socket?.send(text))),
    until: (predicate) =>
      Effect.callback<void>((resume) => {
        if (predicate(service)) return resume(Effect.void)
        const waiter: Waiter = { predicate: () => predicate(service), resume: () => resume(Effect.void) }
        waiters.add(waiter)
        return Effect.sync(() => waiters.delete(waiter))
      }),
  }
  return service
})

/** @stability experimental */
export class Simulator extends Context.Service<Simulator, SimulatorService>()("respool/simulator/Simulator") {
  /** Runs one simulator, on a free port unless one is given, until the scope closes. */
  static readonly layer = (options: SimulatorOptions = {}): Layer.Layer<Simulator> =>
    Layer.effect(Simulator, make(options))
}
