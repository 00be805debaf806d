/**
 * The entry point `respool/fetch`: a `fetch` for `new OpenAI({ fetch })` and every other client that takes one, which
 * carries the Responses API's turns over pooled sockets in this process. It needs no Effect to use it.
 *
 *     await using fetch = createFetch()
 *     const client = new OpenAI({ fetch })
 *
 * A turn is a `POST` to a path that ends in `/responses`; everything else goes to the given `fetch` as it is.
 */
import { Context, Effect, Exit, References, Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import type { SettingsOptions } from "./config/Settings.ts"
import * as Fronts from "./Fronts.ts"
import { abortable, addressOf } from "./Fronts.ts"

/**
 * What of `fetch` is called, on every platform.
 *
 * @stability stable
 */
export type FetchFunction = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** @stability stable */
export interface FetchOptions {
  /**
   * As in `respool.json`. Where they name an upstream (`upstreamUrl`, `profile` or `upstreams`), every turn goes there; else each goes
   * to the address that it is asked of, over a pool for that address.
   */
  readonly settings?: SettingsOptions
  /** What requests that are no turns go to, and turns that go over HTTP. Default: the platform's, as it is now. */
  readonly fetch?: FetchFunction
}

/** @stability stable */
export interface RespoolFetch extends FetchFunction, AsyncDisposable {
  /** Ends the turns that are under way and closes all sockets. Calls after it reject. */
  readonly close: () => Promise<void>
  /** Part of Bun's `fetch`, for clients that are typed by it. Does nothing: a first turn opens the socket. */
  readonly preconnect: (url: string | URL) => void
}

/**
 * Makes a `fetch` with sockets of its own, which live until it is closed. Throws `SettingsError` for settings that can't
 * hold.
 *
 * After a turn may have been sent, it never rejects with what an SDK would send again: the answer is a `Response` in the
 * API's error shape with `x-should-retry: false`, or the error is in the stream. It rejects with the signal's reason
 * where the caller aborts, and that ends the turn.
 *
 * @stability stable
 */
export const createFetch = ({ fetch: given, settings = {} }: FetchOptions = {}): RespoolFetch => {
  // Taken now: an app may put what is made here in the global's place.
  const base = given ?? globalThis.fetch
  // A library says nothing of its own accord; an app that wants the log composes the layers.
  const around = Context.make(References.MinimumLogLevel, "None" as const).pipe(
    Context.add(FetchHttpClient.Fetch, base as typeof globalThis.fetch),
  )
  const scope = Scope.makeUnsafe()
  const fronts = Effect.runSync(Fronts.make(settings).pipe(Scope.provide(scope), Effect.provide(around)))
  let closed: Promise<void> | undefined

  const carry = async (request: Asked): Promise<Response> => {
    const { address, headers, signal, url } = request
    signal?.throwIfAborted()
    const bytes = await bytesOf(request)
    const answer = fronts.answer(address, { headers: Object.fromEntries(headers), query: url.search, bytes })
    const exit = await Effect.runPromiseExit(Effect.provide(answer, around), signal === undefined ? {} : { signal })
    if (signal?.aborted === true) {
      if (Exit.isSuccess(exit)) void exit.value?.body?.cancel(signal.reason)
      throw signal.reason
    }
    if (Exit.isFailure(exit) || exit.value === undefined) throw new Error(wasClosed)
    return signal === undefined ? exit.value : abortable(exit.value, signal)
  }

  const fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    if (closed !== undefined) throw new Error(wasClosed)
    const request = turnOf(input, init)
    return request !== undefined && fronts.takes(request.address) ? carry(request) : base(input, init)
  }

  const close = () => (closed ??= Effect.runPromise(Scope.close(scope, Exit.void)))
  return Object.assign(fetch, { close, preconnect: () => {}, [Symbol.asyncDispose]: close })
}

const wasClosed = "this fetch was closed"

/** A turn's request, before its body is read. */
interface Asked {
  readonly url: URL
  /** The upstream's address, as clients are told it. */
  readonly address: string
  readonly headers: Headers
  readonly body: NonNullable<RequestInit["body"]> | Request
  readonly signal: AbortSignal | undefined
}

const turnOf = (input: string | URL | Request, init: RequestInit = {}): Asked | undefined => {
  const request = input instanceof Request ? input : undefined
  const text = request?.url ?? String(input)
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) return undefined
  const headers = new Headers(init.headers ?? request?.headers)
  const address = addressOf(init.method ?? request?.method ?? "GET", url, headers)
  const body = init.body ?? request
  // A form is no turn.
  if (address === undefined || body === undefined || body instanceof FormData) return undefined
  const signal = init.signal ?? request?.signal ?? undefined
  return { url, address, headers, body, signal }
}

const bytesOf = async ({ body }: Asked): Promise<Uint8Array> => {
  if (typeof body === "string") return new TextEncoder().encode(body)
  // The caller may change its bytes once the call has returned.
  const whole = body instanceof Request ? body : new Response(body)
  return new Uint8Array(await whole.arrayBuffer())
}
