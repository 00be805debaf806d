/**
 * The configured upstream's addresses: one base URL, as people write it, for both transports.
 */
import { Context, Effect, Layer } from "effect"
import { Settings } from "../Settings.ts"

export class Upstream extends Context.Service<
  Upstream,
  {
    /** `https://…/v1`, without a slash at the end. */
    readonly httpBase: string
    /** `wss://…/v1/responses`, with the query of the client's URL. */
    readonly socketFor: (query: string) => string
  }
>()("respool/upstream/Upstream") {
  static readonly layerNoDeps = Layer.effect(
    Upstream,
    Effect.map(Settings, ({ upstreamUrl }) => {
      const base = upstreamUrl.replace(/\/+$/, "")
      const httpBase = base.replace(/^ws/i, "http")
      const responses = `${httpBase.replace(/^http/i, "ws")}/responses`
      return Upstream.of({ httpBase, socketFor: (query) => `${responses}${query}` })
    }),
  )
}
