/**
 * The proxy with everything it lets out collected: what it logs, its spans with their failures, and its metrics.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { Cause, Console, Context, Effect, Exit, Layer, Metric, Tracer } from "effect"
import { HttpServer } from "effect/http"
import * as Logging from "../../src/cli/Logging.ts"
import * as Server from "../../src/Server.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"

export class Watched extends Context.Service<
  Watched,
  {
    /** `http://127.0.0.1:PORT/v1`. */
    readonly url: string
    readonly logs: ReadonlyArray<string>
    /** Name, attributes and events of every span, and its failures as an exporter would write them. */
    readonly spans: () => ReadonlyArray<string>
    readonly metrics: Effect.Effect<ReadonlyArray<string>>
  }
>()("test/server/Watched") {
  /** `server` is what is served; the whole proxy where there is none. */
  static readonly layer = (settings: Partial<SettingsValues>, server: typeof Server.layer = Server.layer) => {
    const logs: Array<string> = []
    const spans: Array<Tracer.NativeSpan> = []
    const write = (...parts: ReadonlyArray<unknown>) => void logs.push(parts.map(String).join(" "))
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      },
    })
    return Layer.effect(
      Watched,
      Effect.gen(function* () {
        const { address } = yield* HttpServer.HttpServer
        return Watched.of({
          url: `${HttpServer.formatAddress(address)}/v1`,
          logs,
          spans: () => spans.map(written),
          metrics: Effect.map(Metric.snapshot, (metrics) => metrics.map((metric) => Bun.inspect(metric, { depth: 8 }))),
        })
      }),
    ).pipe(
      Layer.provideMerge(server),
      Layer.provide(Logging.layerTo(write)),
      Layer.provide(Settings.layer({ port: 0, logLevel: "debug", ...settings })),
      Layer.provide([NodeFileSystem.layer, NodePath.layer]),
      Layer.provide([Layer.succeed(Tracer.Tracer, tracer), consoleTo(write)]),
    )
  }
}

const consoleTo = (write: (...parts: ReadonlyArray<unknown>) => void) =>
  Layer.effect(
    Console.Console,
    Effect.map(Console.Console, (console) => ({ ...console, log: write, error: write, warn: write, info: write })),
  )

const written = ({ attributes, events, name, status }: Tracer.NativeSpan) => {
  const failure = status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
  const said = Bun.inspect({ attributes: Object.fromEntries(attributes), events }, { depth: 8 })
  return `${name} ${status._tag} ${said} ${failure}`
}
