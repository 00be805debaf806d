/**
 * The proxy in front of the simulator, both in this process on real loopback sockets, under the test's own clock.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import type { LogLevel } from "effect"
import { Context, Effect, Layer, References } from "effect"
import { HttpServer } from "effect/http"
import { OpenAI } from "openai"
import * as Server from "../../src/Server.ts"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"
import { agent } from "../../src/simulator/Script.ts"
import type { SimulatorOptions } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Dialer } from "../../src/upstream/dialer/Dialer.ts"
import { collectingLogger } from "./Logged.ts"

export class TestProxy extends Context.Service<
  TestProxy,
  {
    /** `http://127.0.0.1:PORT/v1`. */
    readonly url: string
    /** Lines that were logged. */
    readonly logged: ReadonlyArray<string>
    readonly client: (options?: {
      readonly apiKey?: string
      readonly session?: string
      readonly baseURL?: string
    }) => OpenAI
  }
>()("test/TestProxy") {
  /** The proxy alone, in front of `settings.upstreamUrl`; with the default dialer, or another. */
  static readonly layerProxy = (
    settings: SettingsOptions,
    dialer?: Layer.Layer<Dialer>,
    logs: LogLevel.LogLevel = "Info",
  ) => {
    const { logged, logger } = collectingLogger()
    return Layer.effect(
      TestProxy,
      Effect.map(HttpServer.HttpServer, (server) => {
        const url = `${HttpServer.formatAddress(server.address)}/v1`
        return TestProxy.of({
          url,
          logged,
          client: ({ apiKey = "test-key-a", baseURL = url, session } = {}) =>
            new OpenAI({
              baseURL,
              apiKey,
              maxRetries: 0,
              ...(session === undefined ? {} : { defaultHeaders: { "session-id": session } }),
            }),
        })
      }),
    ).pipe(
      Layer.provideMerge(dialer === undefined ? Server.layer : Server.layerNoDialer.pipe(Layer.provide(dialer))),
      Layer.provide(Settings.layer({ port: 0, ...settings })),
      Layer.provide([NodeFileSystem.layer, NodePath.layer, logger, Layer.succeed(References.MinimumLogLevel, logs)]),
    )
  }

  static readonly layer = (
    options: { readonly settings?: SettingsOptions; readonly simulator?: SimulatorOptions } = {},
  ) =>
    Layer.unwrap(
      Effect.map(Simulator, ({ url }) => TestProxy.layerProxy({ upstreamUrl: url, ...options.settings })),
    ).pipe(Layer.provideMerge(Simulator.layer(options.simulator)))

  /** In front of a model that answers every turn at once, and calls no tool. */
  static readonly layerBrief = (settings: SettingsOptions = {}, simulator: SimulatorOptions = {}) =>
    TestProxy.layer({ settings, simulator: { script: agent({ rounds: 0 }), ...simulator } })
}
