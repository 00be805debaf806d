/**
 * An `HttpClient` for any OpenAI client that is written with Effect: turns go through a pool in this process, and
 * everything else straight on to the `HttpClient` that was there.
 *
 * Once a turn may have been sent, nothing of it is a failure, nor an answer that a policy for passing trouble repeats
 * (`HttpClient.retryTransient`, an `AiError` that says it is retryable): such an answer has the status 424, and its body
 * and `x-respool-status` say what it was.
 */
import { Effect, Layer, Option, Result, Stream } from "effect"
import type { HttpBody, HttpClientRequest } from "effect/http"
import { Headers, HttpClient, HttpClientError, HttpClientResponse, Url } from "effect/http"
import type { SettingsError, SettingsOptions } from "./config/Settings.ts"
import { abortable, addressOf } from "./downstream/fetch/WebTurn.ts"
import * as Fronts from "./Fronts.ts"

/** @stability stable */
export interface HttpClientOptions {
  /** As for `createFetch`: where they name an upstream, every turn goes there, else to the address that it is asked of. */
  readonly settings?: SettingsOptions
}

/**
 * Provides an `HttpClient` that needs another: a `POST` to a path that ends in `/responses` is a turn. Interrupting its
 * request, or the reading of its answer, ends the turn. Closing the layer's scope ends all turns and closes the sockets.
 *
 * A turn that can't go over a socket goes over HTTP by `FetchHttpClient.Fetch`, and not by the client below, whose own
 * policies might send it twice. Policies belong on top. Fails for settings that can't hold.
 *
 * @stability stable
 */
export const layerHttpClient = ({ settings = {} }: HttpClientOptions = {}): Layer.Layer<
  HttpClient.HttpClient,
  SettingsError,
  HttpClient.HttpClient
> =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function* () {
      const base = yield* HttpClient.HttpClient
      const fronts = yield* Fronts.make(settings)

      const pooled = HttpClient.make((request, url, signal) =>
        Effect.gen(function* () {
          const bytes = yield* bytesOf(request)
          const turn = { headers: request.headers, query: url.search, bytes }
          const response = yield* fronts.answer(addressIn(request, url) ?? "", turn)
          if (response === undefined) return yield* notSent(request, "the layer of this client was closed")
          return HttpClientResponse.fromWeb(request, abortable(unrepeated(response), signal))
        }),
      )

      const isTurn = (request: HttpClientRequest.HttpClientRequest) => {
        const url = Url.make(request.url, request.urlParams, Option.getOrUndefined(request.hash))
        const address = Result.isSuccess(url) ? addressIn(request, url.success) : undefined
        return address !== undefined && fronts.takes(address)
      }

      return HttpClient.makeWith<HttpClientError.HttpClientError, never, HttpClientError.HttpClientError, never>(
        Effect.flatMap((request) => (isTurn(request) ? pooled : base).execute(request)),
        Effect.succeed,
      )
    }),
  )

/** A form is no turn, and a body that is not there none either. */
const addressIn = ({ body, headers, method }: HttpClientRequest.HttpClientRequest, url: URL) =>
  body._tag === "Empty" || body._tag === "FormData"
    ? undefined
    : addressOf(method, url, { has: (name) => Headers.has(headers, name) })

const bytesOf = (request: HttpClientRequest.HttpClientRequest) => {
  const { body } = request
  switch (body._tag) {
    case "Uint8Array":
      return Effect.succeed(body.body)
    case "Stream":
      return Stream.mkUint8Array(Stream.mapError(body.stream, (cause) => unreadable(request, cause)))
    default:
      return Effect.tryPromise({
        try: async () => new Uint8Array(await new Response(rawOf(body)).arrayBuffer()),
        catch: (cause) => unreadable(request, cause),
      })
  }
}

const rawOf = (body: HttpBody.HttpBody) =>
  body._tag === "Raw" ? (body.body as ConstructorParameters<typeof Response>[0]) : null

const unreadable = (request: HttpClientRequest.HttpClientRequest, cause: unknown) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.EncodeError({ request, cause }) })

const notSent = (request: HttpClientRequest.HttpClientRequest, description: string) =>
  new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, description }) })

/** Policies of Effect go by the status, and know no `x-should-retry`. This one is of those that they leave alone. */
const unrepeatable = 424

const unrepeated = (response: Response): Response => {
  const { headers, status } = response
  if (status < 400 || headers.get("x-should-retry") !== "false") return response
  const said = new Response(response.body, { status: unrepeatable, headers })
  said.headers.set("x-respool-status", String(status))
  return said
}
