/**
 * A front for each address that turns are asked of, inside of a program: each with a pool, a memory and sockets of its
 * own, which live until the scope closes. Nothing of it is shared, neither with another of them nor with layers of the
 * app.
 */
import { Context, Deferred, Effect, Exit, Layer, Scope } from "effect"
import type { SettingsOptions } from "./config/Settings.ts"
import { Settings, type SettingsError } from "./config/Settings.ts"
import { Answers } from "./downstream/answer/Answers.ts"
import { AuthScope } from "./downstream/auth/AuthScope.ts"
import type { FetchedTurn } from "./downstream/fetch/FetchFront.ts"
import { FetchFront } from "./downstream/fetch/FetchFront.ts"
import { frontOf, maxAddresses, namesUpstream } from "./downstream/fetch/WebTurn.ts"
import { Ownership } from "./downstream/tenants/Ownership.ts"
import * as Engine from "./Engine.ts"
import type { Dialer } from "./upstream/dialer/Dialer.ts"

/** Fronts by address. */
export interface Fronts {
  /** Whether turns of this address are carried here. */
  readonly takes: (address: string) => boolean
  /**
   * Carries a turn. Whatever comes of it is a response; undefined: this is closed, and nothing was sent. Interrupting it,
   * or cancelling the response's body, ends the turn.
   */
  readonly answer: (address: string, turn: FetchedTurn) => Effect.Effect<Response | undefined>
}

/** Loaded when it is needed, since each of the two stands on what the other platforms lack. */
const layerDialer: Layer.Layer<Dialer> = Layer.unwrap(
  Effect.promise(async () =>
    "Bun" in globalThis
      ? (await import("./upstream/dialer/DialerBun.ts")).layerBun
      : (await import("./upstream/dialer/DialerWs.ts")).layerWs,
  ),
)

const layerFront = FetchFront.layerNoDeps.pipe(
  Layer.provide(Answers.layerNoDeps),
  Layer.provideMerge(Engine.layerTurns),
  Layer.provide([AuthScope.layerPassthrough, Ownership.layerOff]),
  Layer.provide(Engine.layerExecutor),
  Layer.provide(layerDialer),
)

type Front = FetchFront["Service"]

/**
 * Where the settings name an upstream, every turn goes there; else each goes to the address that it is asked of. Fails for
 * settings that can't hold.
 */
export const make = Effect.fnUntraced(function* (
  settings: SettingsOptions,
): Effect.fn.Return<Fronts, SettingsError, Scope.Scope> {
  yield* Effect.scoped(Layer.build(Settings.layer(settings)))
  const isFixed = namesUpstream(settings)
  const keyOf = frontOf(settings)
  const fronts = new Map<string, Deferred.Deferred<Front | undefined>>()
  const context = yield* Effect.context<never>()
  const scope = yield* Scope.make()
  let closed = false
  const close = (exit: Exit.Exit<unknown, unknown>) =>
    Effect.suspend(() => {
      closed = true
      return Scope.close(scope, exit)
    })
  yield* Effect.addFinalizer(close)

  const build = Effect.fnUntraced(function* (address: string) {
    const layer = layerFront.pipe(
      // Nobody asks a client for its metrics, unless the settings say so.
      Layer.provide(Settings.layer({ metrics: "off", ...settings, ...(isFixed ? {} : { upstreamUrl: address }) })),
    )
    // With a map of its own, since a layer is else built once for all that use the same value.
    const context = yield* Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), scope)
    return Context.get(context, FetchFront)
  })

  const built = Effect.fnUntraced(function* (address: string) {
    const known = fronts.get(keyOf(address))
    if (known !== undefined) return yield* Deferred.await(known)
    const made = Deferred.makeUnsafe<Front | undefined>()
    fronts.set(keyOf(address), made)
    // Not the caller's to interrupt, since others wait for it as well.
    yield* build(address).pipe(
      Effect.orDie,
      // What was given to the layer decides, and not what the first caller has around it.
      Effect.provide(context),
      Effect.onExit((exit) => Deferred.done(made, Exit.isFailure(exit) && closed ? Exit.succeed(undefined) : exit)),
      Effect.forkIn(scope),
    )
    return yield* Deferred.await(made)
  })

  return {
    takes: (address) => fronts.has(keyOf(address)) || fronts.size < maxAddresses,
    answer: Effect.fnUntraced(
      function* (address, turn) {
        if (closed) return undefined
        const front = yield* built(address)
        if (front === undefined || closed) return undefined
        return yield* front.answer(turn)
      },
      Effect.catchDefect(() => Effect.sync(broken)),
    ),
  }
})

/** What is unexpected may have come after the turn was sent. */
const broken = (): Response =>
  Response.json(
    { error: { message: "The turn failed unexpectedly.", type: "server_error", code: "internal", param: null } },
    { status: 500, headers: { "x-should-retry": "false" } },
  )
