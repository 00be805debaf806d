/**
 * Asks the proxy that runs with the same settings, on this machine: at the port and over the protocol that they say,
 * whoever has signed the certificate, and by no proxy. Where they have a token of the operator's, with that.
 */
import { Effect, Layer, Redacted, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { hostAndPort } from "../config/Address.ts"
import { Settings } from "../config/Settings.ts"
import { tokenOf } from "../downstream/operator/OperatorAccess.ts"

/** The proxy can't be asked, or does not answer as it should. */
export class NotAnswered extends Schema.TaggedError<NotAnswered>()("NotAnswered", { message: Schema.String }) {}

/** What a command needs that asks: the settings, which need not fit together for serving, and a client. */
export const layer = Layer.merge(Settings.layerConfigUnchecked, FetchHttpClient.layer)

/** Where the proxy can be asked: an address that stands for all of the machine's can't be connected to everywhere. */
const askedAt = (host: string): string => {
  if (host === "0.0.0.0") return "127.0.0.1"
  return host === "::" || host === "[::]" ? "::1" : host.replace(/^\[|\]$/g, "")
}

/** This machine is asked itself, so no proxy is on the way, and any certificate will do. */
const init = { proxy: false, timeout: false, tls: { rejectUnauthorized: false } } as const

/** Where it is: `http://127.0.0.1:8080`. */
export const origin = Effect.gen(function* () {
  const { host, listenTlsCert, port } = yield* Settings
  if (port === 0) return yield* new NotAnswered({ message: "RESPOOL_PORT is 0: any port, which can't be known here" })
  return `${listenTlsCert === undefined ? "http" : "https"}://${hostAndPort({ hostname: askedAt(host), port })}`
})

/** The answer, whatever its status, once its head has come. */
export const get = Effect.fnUntraced(function* (url: string, headers: Readonly<Record<string, string>> = {}) {
  const client = yield* HttpClient.HttpClient
  return yield* client.execute(HttpClientRequest.get(url, { headers })).pipe(
    Effect.mapError(() => new NotAnswered({ message: `${url} does not answer` })),
    Effect.timeoutOrElse({
      duration: "4 seconds",
      orElse: () => Effect.fail(new NotAnswered({ message: `${url} does not answer in time` })),
    }),
    Effect.provideService(FetchHttpClient.RequestInit, init as RequestInit),
  )
})

/** The same of what only an operator may see. */
export const getAsOperator = Effect.fnUntraced(function* (path: string) {
  const url = `${yield* origin}${path}`
  const token = yield* tokenOf
  const answer = yield* get(url, token === undefined ? {} : { authorization: `Bearer ${Redacted.value(token)}` })
  if (answer.status === 200) return answer
  const why =
    answer.status !== 404
      ? ""
      : token === undefined
        ? ": it shows that to this machine alone, unless RESPOOL_OPERATOR_TOKEN is the proxy's, and not with RESPOOL_METRICS=off"
        : ": RESPOOL_OPERATOR_TOKEN is another than the proxy's, or its RESPOOL_METRICS is off"
  return yield* new NotAnswered({ message: `${url} answers ${answer.status}${why}` })
})
