/**
 * Takes WebSockets from clients: admits them, keeps count of them, and ends them.
 *
 * Who asks is known before the upgrade, and looked at again for each message, so that a key which is revoked later ends
 * its sockets. Every `RESPOOL_PING_INTERVAL` each socket is sent a ping, which keeps it alive on its way. One without a
 * turn for `RESPOOL_DOWNSTREAM_IDLE` is closed. Closing this service ends the turns that still run, and tells their
 * clients so.
 */
import { Clock, Context, Effect, FiberSet, Layer } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpServerResponse } from "effect/http"
import { Settings } from "../../config/Settings.ts"
import type { Caller } from "../../turn/Caller.ts"
import { Observing } from "../../turn/record/Observing.ts"
import { LatestMap } from "../../turn/memory/LatestMap.ts"
import * as Flood from "../../turn/record/Flood.ts"
import { Revocation } from "../../turn/Revocation.ts"
import { Turns } from "../../turn/Turns.ts"
import type { ApiError } from "../ApiError.ts"
import { monotonicMillisOf } from "../../turn/Elapsed.ts"
import { addressOf, Admission } from "../Admission.ts"
import { upgrade } from "./BunSockets.ts"
import { Intake } from "../Intake.ts"
import type { RequestHeaders } from "../Session.ts"
import type { Service } from "./Asked.ts"
import { Asked } from "./Asked.ts"
import { ClientConnection } from "./ClientConnection.ts"
import { badUpgrade, idle, noUpgrade, refusedMessage, revoked, tooMany, tooManyOfScope } from "./Refusals.ts"
import { accepted, headersOfTurns } from "./Subprotocol.ts"

type Request = HttpServerRequest.HttpServerRequest

/** A client's wish for a socket. `callerOf` says who asks, or fails with the answer for one who is not let in. */
export interface Wish {
  readonly request: Request
  readonly callerOf: (headers: RequestHeaders) => Effect.Effect<Caller, ApiError>
}

export class ClientSockets extends Context.Service<
  ClientSockets,
  {
    /** Makes a socket of the request's connection, or fails with the answer. */
    readonly accept: (wish: Wish) => Effect.Effect<HttpServerResponse.HttpServerResponse, ApiError>
    readonly open: () => number
  }
>()("respool/downstream/ClientSockets") {
  static readonly layerNoDeps = Layer.effect(
    ClientSockets,
    Effect.suspend(() => make),
  )
}

/** In milliseconds: a client that sends one message for so long, and shows no other sign of life, is ended. */
const messageWithin = 300_000

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const admission = yield* Admission
  const intake = yield* Intake
  const turns = yield* Turns
  const revocation = yield* Revocation
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)
  const run = yield* FiberSet.makeRuntime<never, void>()

  const bounded = yield* Flood.make
  const connections = new Map<Asked, ClientConnection>()
  const counts = new Map<string, number>()
  /** Headers that the upstream told of a scope. */
  const headed = new LatestMap<string, Readonly<Record<string, string>>>()

  const enter = (scope: string): ApiError | undefined => {
    if (connections.size >= settings.maxClientSockets) return tooMany
    const count = counts.get(scope) ?? 0
    if (count >= settings.maxClientSocketsPerScope) return tooManyOfScope
    counts.set(scope, count + 1)
    return undefined
  }

  const leave = (scope: string) => {
    const count = (counts.get(scope) ?? 1) - 1
    if (count === 0) counts.delete(scope)
    else counts.set(scope, count)
  }

  const remember = (scope: string, headers: Readonly<Record<string, string>>) => {
    const told = Object.entries(headers).filter(([name]) => ofUpgrade.test(name))
    if (told.length > 0) headed.set(scope, Object.fromEntries(told))
  }

  const service: Service = {
    settings,
    turns,
    run,
    now,
    remember,
    enter: (asked) => admission.enter({ scope: asked.scope, address: asked.client }),
    read: (asked, message) =>
      Effect.flatMap(asked.callerOf(asked.headers), (caller) =>
        intake.read({
          ...message,
          caller,
          headers: asked.headers,
          query: asked.query,
          stream: true,
          client: asked.client,
        }),
      ),
    refused: (asked, { code, status }) => {
      const told = { scope: asked.label, client: asked.client, status, code }
      run(bounded(`message ${status}`, refusedMessage(told)))
    },
    ended: (asked) => {
      if (connections.delete(asked)) leave(asked.scope ?? "")
    },
  }

  const accept = Effect.fnUntraced(function* ({ callerOf, request }: Wish) {
    if (!isWhole(request)) return yield* badUpgrade
    const headers = headersOfTurns(request.headers)
    const caller = yield* callerOf(headers)
    const scope = caller.scope ?? ""
    const query = /\?.*$/.exec(request.url)?.[0] ?? ""
    const client = addressOf(request)
    const refusal = enter(scope)
    if (refusal !== undefined) return yield* refusal
    const asked = new Asked(service, { scope: caller.scope, label: caller.label, callerOf, headers, query, client })
    const connection = new ClientConnection(asked)
    connections.set(asked, connection)
    const protocol = accepted(request.headers)
    const upgraded = upgrade(request, connection, {
      ...headed.get(scope),
      ...(protocol === undefined ? {} : { "sec-websocket-protocol": protocol }),
    })
    if (!upgraded) {
      asked.ended()
      return yield* noUpgrade
    }
    return HttpServerResponse.empty({ status: 204 })
  })

  const beat = Effect.sync(() => {
    for (const connection of connections.values()) {
      const { aliveAt, idleSince } = connection
      if (now() - aliveAt >= messageWithin) connection.terminate()
      else if (idleSince !== undefined && now() - idleSince >= settings.downstreamIdle) connection.close(1001, idle)
      else connection.ping()
    }
  })
  yield* Effect.sleep(settings.pingInterval).pipe(Effect.andThen(beat), Effect.forever, Effect.forkScoped)

  yield* revocation.listen(() => {
    for (const [{ scope = "" }, connection] of connections) {
      if (revocation.isRevoked(scope)) connection.close(1008, revoked)
    }
  })

  yield* Effect.addFinalizer(() =>
    Effect.forEach([...connections.values()], (connection) => connection.stop(), { concurrency: "unbounded" }),
  )

  yield* (yield* Observing).gauge("client_sockets", () => connections.size)
  return ClientSockets.of({ accept, open: () => connections.size })
})

/** Headers of an upstream's upgrade that clients read of theirs (docs/protocol.md 3.3); a turn's state is none. */
const ofUpgrade = /^(openai-model|x-models-etag|x-reasoning-included|x-codex-(?!turn-state).*)$/

const isWhole = ({ headers }: Request) =>
  headers["sec-websocket-version"] === "13" && /^[A-Za-z0-9+/]{22}==$/.test(headers["sec-websocket-key"] ?? "")
