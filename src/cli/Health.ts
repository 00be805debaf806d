/**
 * The command `health`: asks the proxy of the same settings whether it takes turns, as a container's health check does.
 */
import { Console, Effect } from "effect"
import { get, layer, NotAnswered, origin } from "./Running.ts"

export const health = Effect.gen(function* () {
  const url = `${yield* origin}/readyz`
  const { status } = yield* get(url)
  if (status !== 200) return yield* new NotAnswered({ message: `${url} answers ${status}` })
  return yield* Console.log(`${url} takes turns`)
}).pipe(Effect.provide(layer))
