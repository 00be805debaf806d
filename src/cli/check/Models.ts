/**
 * Asks an upstream for its models over HTTP, which shows whether it is reached that way.
 */
import type { Redacted } from "effect"
import { Effect, Option, Schema, Stream } from "effect"
import type { HttpClientError } from "effect/http"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { proxyOfFetch } from "../../config/ProxyRules.ts"
import { readRefusal } from "../../turn/AnswerBody.ts"
import { TurnError } from "../../turn/TurnError.ts"
import type { DialRequest } from "../../upstream/dialer/Dialer.ts"
import { ReachError } from "./Reach.ts"

export interface ModelsRequest {
  /** The base URL, `http:` or `https:`. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly tls: DialRequest["tls"]
  readonly proxy: Redacted.Redacted<string> | undefined
}

interface ModelsAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Names in the order of the list; empty where there is none. */
  readonly models: ReadonlyArray<string>
}

const List = Schema.fromJsonString(Schema.Struct({ data: Schema.Array(Schema.Struct({ id: Schema.String })) }))
const decodeList = Schema.decodeUnknownOption(List)

/** The code of an error, or of what caused it. */
const codeIn = (cause: unknown): string => {
  if (!(cause instanceof Error)) return ""
  return "code" in cause && typeof cause.code === "string" && /^[A-Z0-9_]+$/.test(cause.code)
    ? cause.code
    : codeIn(cause.cause)
}

/** The request that the error carries holds the credential, so only its code goes on. */
const failed = ({ reason }: HttpClientError.HttpClientError) =>
  new ReachError({
    code: reason._tag === "TransportError" ? codeIn(reason.cause) : "",
    message: "the upstream could not be asked over HTTP",
  })

const brokenOff = new TurnError({ reason: "upstream_closed", delivery: "Accepted", message: "it broke off" })

export const askModels = Effect.fnUntraced(
  function* ({ headers, url }: ModelsRequest) {
    const client = yield* HttpClient.HttpClient
    const request = HttpClientRequest.get(`${url}/models`).pipe(HttpClientRequest.setHeaders(headers))
    const response = yield* Effect.mapError(client.execute(request), failed)
    const { headers: answered, status } = response
    const stream = Stream.mapError(response.stream, () => brokenOff)
    const body = yield* readRefusal({ status, headers: answered, body: stream })
    const list = status === 200 ? decodeList(body) : Option.none()
    const models = Option.match(list, { onNone: () => [], onSome: ({ data }) => data.map(({ id }) => id) })
    const answer: ModelsAnswer = { status, headers: answered, body, models }
    return answer
  },
  (effect, { proxy, tls }) => {
    const { verify, ...certificates } = tls ?? {}
    const init = {
      redirect: "manual",
      timeout: false,
      tls: { ...certificates, rejectUnauthorized: verify !== false },
      proxy: proxyOfFetch(proxy),
    } as const
    return effect.pipe(
      Effect.provideService(FetchHttpClient.RequestInit, init),
      Effect.provideService(HttpClient.TracerPropagationEnabled, false),
    )
  },
)

const notForText = /embed|whisper|tts|dall-e|moderation|image|audio|realtime|transcri|sora|rerank/i

/** The first that is likely to answer in text. */
export const firstModel = (models: ReadonlyArray<string>): string | undefined =>
  models.find((name) => !notForText.test(name)) ?? models[0]
