/**
 * The command `health`: asks the proxy of the same settings whether it takes turns, as a container's health check does.
 *
 * It asks on this machine, at the port and over the protocol that the settings say, whoever has signed the certificate.
 */
import { Console, Duration, Effect, Layer, Runtime, Schema } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { hostAndPort } from "../config/Address.ts"
import { Settings } from "../config/Settings.ts"

/** The proxy does not take turns. It has been said why. */
class NotHealthy extends Schema.TaggedError<NotHealthy>()("NotHealthy", { message: Schema.String }) {
  override readonly [Runtime.errorReported] = false
}

/** Where the proxy can be asked: an address that stands for all of the machine's can't be connected to everywhere. */
const askedAt = (host: string): string => {
  if (host === "0.0.0.0") return "127.0.0.1"
  return host === "::" || host === "[::]" ? "::1" : host.replace(/^\[|\]$/g, "")
}

const within = Duration.seconds(4)

/** This machine is asked itself, so no proxy is on the way, and any certificate will do. */
const init = { proxy: false, timeout: false, tls: { rejectUnauthorized: false } } as const

export const health = Effect.gen(function* () {
  const { host, listenTlsCert, port } = yield* Settings
  if (port === 0) return yield* new NotHealthy({ message: "RESPOOL_PORT is 0: any port, which can't be known here" })
  const scheme = listenTlsCert === undefined ? "http" : "https"
  const url = `${scheme}://${hostAndPort({ hostname: askedAt(host), port })}/readyz`
  const client = yield* HttpClient.HttpClient
  const { status } = yield* client.execute(HttpClientRequest.get(url)).pipe(
    Effect.mapError(() => new NotHealthy({ message: `${url} does not answer` })),
    Effect.timeoutOrElse({
      duration: within,
      orElse: () => Effect.fail(new NotHealthy({ message: `${url} does not answer in time` })),
    }),
    Effect.provideService(FetchHttpClient.RequestInit, init as RequestInit),
  )
  if (status !== 200) return yield* new NotHealthy({ message: `${url} answers ${status}` })
  return yield* Console.log(`${url} takes turns`)
}).pipe(
  Effect.tapErrorTag("NotHealthy", ({ message }) => Console.error(`respool: ${message}`)),
  Effect.provide(Layer.merge(Settings.layerConfigUnchecked, FetchHttpClient.layer)),
)
