/**
 * The command `health`: asks the proxy of the same settings whether it takes turns, as a container's health check does.
 */
import { Console, Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { Settings } from "../config/Settings.ts"
import { get, NotAnswered, origin } from "./Running.ts"

export const health = Effect.gen(function* () {
  const url = `${yield* origin}/readyz`
  const { status } = yield* get(url)
  if (status !== 200) return yield* new NotAnswered({ message: `${url} answers ${status}` })
  return yield* Console.log(`${url} takes turns`)
}).pipe(Effect.provide(Layer.merge(Settings.layerConfigUnchecked, FetchHttpClient.layer)))
