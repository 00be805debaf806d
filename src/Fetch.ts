/**
 * The entry point `respool/fetch`: a `fetch` for `new OpenAI({ fetch })` and every other client that takes one, which
 * carries the Responses API's turns over pooled sockets in this process. It needs no Effect to use it.
 *
 *     await using fetch = createFetch()
 *     const client = new OpenAI({ fetch })
 *
 * A turn is a `POST` to a path that ends in `/responses`; everything else goes to the given `fetch` as it is.
 */
import { Effect, Exit, Layer, ManagedRuntime, References } from "effect"
import { FetchHttpClient } from "effect/http"
import type { SettingsOptions } from "./config/Settings.ts"
import { Settings } from "./config/Settings.ts"
import { Answers } from "./downstream/answer/Answers.ts"
import { AuthScope } from "./downstream/auth/AuthScope.ts"
import { FetchFront } from "./downstream/fetch/FetchFront.ts"
import { Ownership } from "./downstream/tenants/Ownership.ts"
import * as Engine from "./Engine.ts"
import type { Dialer } from "./upstream/dialer/Dialer.ts"

/** What of `fetch` is called, on every platform. */
export type FetchFunction = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** @stability experimental */
export interface FetchOptions {
  /**
   * As in `respool.json`. Where they name an upstream (`upstreamUrl`, `profile` or `upstreams`), every turn goes there; else each goes
   * to the address that it is asked of, over a pool for that address.
   */
  readonly settings?: SettingsOptions
  /** What requests that are no turns go to, and turns that go over HTTP. Default: the platform's, as it is now. */
  readonly fetch?: FetchFunction
}

/** @stability experimental */
export interface RespoolFetch extends FetchFunction, AsyncDisposable {
  /** Ends the turns that are under way and closes all sockets. Calls after it reject. */
  readonly close: () => Promise<void>
  /** Part of Bun's `fetch`, for clients that are typed by it. Does nothing: a first turn opens the socket. */
  readonly preconnect: (url: string | URL) => void
}

type Engine = ManagedRuntime.ManagedRuntime<FetchFront, unknown>

/** So many addresses have pools of their own; what is asked of others goes to the given `fetch`. */
const maxAddresses = 64

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

/**
 * Makes a `fetch` with sockets of its own, which live until it is closed. Throws `SettingsError` for settings that can't
 * hold.
 *
 * After a turn may have been sent, it never rejects with what an SDK would send again: the answer is a `Response` in the
 * API's error shape with `x-should-retry: false`, or the error is in the stream. It rejects with the signal's reason
 * where the caller aborts, and that ends the turn.
 *
 * @stability experimental
 */
export const createFetch = ({ fetch: given, settings = {} }: FetchOptions = {}): RespoolFetch => {
  // Taken now: an app may put what is made here in the global's place.
  const base = given ?? globalThis.fetch
  Effect.runSync(Effect.scoped(Layer.build(Settings.layer(settings))))
  const isFixed = ["upstreamUrl", "profile", "upstreams"].some((name) => name in settings)
  const engines = new Map<string, Engine>()
  let closed: Promise<void> | undefined

  const engineFor = (address: string): Engine | undefined => {
    const key = isFixed ? "" : address
    const known = engines.get(key)
    if (known !== undefined || engines.size === maxAddresses) return known
    const layer = layerFront.pipe(
      // Nobody asks a fetch for its metrics, unless the settings say so.
      Layer.provide(Settings.layer({ metrics: "off", ...settings, ...(isFixed ? {} : { upstreamUrl: address }) })),
      // Below all others, so that what they do by themselves is done with it, too. A library says nothing of its own
      // accord; an app that wants the log composes the layers.
      Layer.provideMerge([
        Layer.succeed(FetchHttpClient.Fetch, base as typeof globalThis.fetch),
        Layer.succeed(References.MinimumLogLevel, "None"),
      ]),
    )
    const engine: Engine = ManagedRuntime.make(layer)
    engines.set(key, engine)
    return engine
  }

  const carry = async (engine: Engine, request: Asked): Promise<Response> => {
    const { signal } = request
    signal?.throwIfAborted()
    const bytes = await bytesOf(request)
    const { headers, url } = request
    const answer = Effect.flatMap(FetchFront, (front) =>
      front.answer({ headers: Object.fromEntries(headers), query: url.search, bytes }),
    )
    const exit = await engine.runPromiseExit(answer, signal === undefined ? {} : { signal })
    if (signal?.aborted === true) {
      if (Exit.isSuccess(exit)) void exit.value.body?.cancel(signal.reason)
      throw signal.reason
    }
    if (Exit.isFailure(exit)) return broken()
    const { body, status } = exit.value
    if (signal === undefined || body === null) return exit.value
    return new Response(abortable(body, signal), { status, headers: exit.value.headers })
  }

  const fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    if (closed !== undefined) throw new Error("this fetch was closed")
    const request = turnOf(input, init)
    const engine = request === undefined ? undefined : engineFor(request.address)
    return request === undefined || engine === undefined ? base(input, init) : carry(engine, request)
  }

  const close = () => (closed ??= Promise.all([...engines.values()].map((engine) => engine.dispose())).then(() => {}))
  return Object.assign(fetch, { close, preconnect: () => {}, [Symbol.asyncDispose]: close })
}

/** A turn's request, before its body is read. */
interface Asked {
  readonly url: URL
  /** The URL up to `/responses`: the upstream's address, as clients are told it. */
  readonly address: string
  readonly headers: Headers
  readonly body: NonNullable<RequestInit["body"]> | Request
  readonly signal: AbortSignal | undefined
}

const turnOf = (input: string | URL | Request, init: RequestInit = {}): Asked | undefined => {
  const request = input instanceof Request ? input : undefined
  if ((init.method ?? request?.method ?? "GET").toUpperCase() !== "POST") return undefined
  const text = request?.url ?? String(input)
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || !url.pathname.endsWith("/responses")) return undefined
  const headers = new Headers(init.headers ?? request?.headers)
  // Nobody here decodes what a client has packed, or takes a form for a turn.
  if (headers.has("content-encoding") || init.body instanceof FormData) return undefined
  const body = init.body ?? request
  if (body === undefined) return undefined
  const signal = init.signal ?? request?.signal ?? undefined
  return { url, address: `${url.origin}${url.pathname.slice(0, -"/responses".length)}`, headers, body, signal }
}

const bytesOf = async ({ body }: Asked): Promise<Uint8Array> => {
  if (typeof body === "string") return new TextEncoder().encode(body)
  // The caller may change its bytes once the call has returned.
  const whole = body instanceof Request ? body : new Response(body)
  return new Uint8Array(await whole.arrayBuffer())
}

/** Aborting breaks the body off for its reader, and ends the turn. */
const abortable = (body: ReadableStream<Uint8Array>, signal: AbortSignal): ReadableStream<Uint8Array> =>
  body.pipeThrough(new TransformStream<Uint8Array, Uint8Array>(), { signal })

/** What is unexpected may have come after the turn was sent. */
const broken = (): Response =>
  Response.json(
    { error: { message: "The turn failed unexpectedly.", type: "server_error", code: "internal", param: null } },
    { status: 500, headers: { "x-should-retry": "false" } },
  )
