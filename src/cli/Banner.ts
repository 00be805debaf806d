/**
 * Tells on the standard output where the proxy listens, and in front of what.
 */
import { Console, Effect } from "effect"
import { HttpServer } from "effect/http"
import packageJson from "../../package.json" with { type: "json" }
import { Settings } from "../config/Settings.ts"

export const banner = Effect.gen(function* () {
  const { auth, listenTls, upstreams } = yield* Settings
  const plain = yield* HttpServer.addressFormattedWith(Effect.succeed)
  const address = listenTls === undefined ? plain : plain.replace(/^http:/, "https:")
  const [{ transport, url }, ...others] = upstreams
  yield* Console.log(`respool ${packageJson.version} for ${url} (transport ${transport}, auth ${auth})`)
  for (const { models, transport, url } of others) {
    yield* Console.log(`  ${models.join(", ")}: ${url} (transport ${transport})`)
  }
  yield* Console.log(`OPENAI_BASE_URL=${address}/v1`)
})
