/**
 * The entry point `respool/fetch`: a `fetch` for `new OpenAI({ fetch })` and every other client that takes one, which
 * carries the Responses API's turns over pooled sockets in this process. It needs no Effect to use it.
 *
 *     await using fetch = createFetch()
 *     const client = new OpenAI({ fetch })
 *
 * A turn is a `POST` to a path that ends in `/responses`; everything else goes to the given `fetch` as it is.
 *
 * To import it loads next to nothing. The engine is loaded in the background from the moment when a `fetch` is made, and
 * its first turn waits for it.
 */
import type { SettingsOptions } from "./config/Settings.ts"
import { abortable, addressOf, frontOf, maxAddresses } from "./downstream/fetch/WebTurn.ts"
import type { FetchPool } from "./FetchPool.ts"

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
  /**
   * Resolves once turns can go out, which nobody needs to wait for. Rejects with `SettingsError` for settings that can't
   * hold; without it they are the answer to each turn, with the status 500 and the code `invalid_settings`.
   */
  readonly ready: () => Promise<void>
  /** Ends the turns that are under way and closes all sockets. Calls after it reject. */
  readonly close: () => Promise<void>
  /** Part of Bun's `fetch`, for clients that are typed by it. Does nothing: a first turn opens the socket. */
  readonly preconnect: (url: string | URL) => void
}

/**
 * Makes a `fetch` with sockets of its own, which live until it is closed. It throws nothing: `ready` tells of settings that
 * can't hold.
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
  const opening = import("./FetchPool.ts").then(({ open }) => open(settings, base as typeof globalThis.fetch))
  // Who asks is told; that nobody has asked yet must not end the process.
  opening.catch(() => {})
  const keyOf = frontOf(settings)
  const early = new Set<string>()
  let pool: FetchPool | undefined
  void opening.then(
    (opened) => (pool = opened),
    () => {},
  )
  let closed: Promise<void> | undefined

  /** Until the pool is there, nobody else counts the addresses that it will have to carry. */
  const takes = (address: string): boolean => {
    if (pool !== undefined) return pool.takes(address)
    const key = keyOf(address)
    if (early.size < maxAddresses) early.add(key)
    return early.has(key)
  }

  const carry = async (request: Asked): Promise<Response> => {
    const { address, headers, signal, url } = request
    signal?.throwIfAborted()
    const bytes = await bytesOf(request)
    let opened: FetchPool
    try {
      opened = pool ?? (await unlessAborted(opening, signal))
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason
      return unopened(error)
    }
    const turn = { headers: Object.fromEntries(headers), query: url.search, bytes }
    const answer = await opened.answer(address, turn, signal)
    if (answer === undefined) throw new Error(wasClosed)
    return signal === undefined ? answer : abortable(answer, signal)
  }

  const fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    if (closed !== undefined) throw new Error(wasClosed)
    const request = turnOf(input, init)
    return request !== undefined && takes(request.address) ? carry(request) : base(input, init)
  }

  const ready = async () => void (await opening)
  const close = () =>
    (closed ??= opening.then(
      (opened) => opened.close(),
      () => {},
    ))
  return Object.assign(fetch, { ready, close, preconnect: () => {}, [Symbol.asyncDispose]: close })
}

const wasClosed = "this fetch was closed"

/** Rejecting would look like a broken network, and have an SDK try again what can't go right. */
const unopened = (error: unknown): Response => {
  const { _tag, message = String(error) } = error as { readonly _tag?: string; readonly message?: string }
  const code = _tag === "SettingsError" ? "invalid_settings" : "internal"
  return Response.json(
    { error: { message, type: "server_error", code, param: null } },
    { status: 500, headers: { "x-should-retry": "false" } },
  )
}

const unlessAborted = async <A>(promise: Promise<A>, signal: AbortSignal | undefined): Promise<A> => {
  if (signal === undefined) return promise
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const abort = () => reject(signal.reason)
  signal.addEventListener("abort", abort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener("abort", abort)
  }
}

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
