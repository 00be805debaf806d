/**
 * Sends metrics and traces to a collector (OTLP over HTTP) where `OTEL_EXPORTER_OTLP_ENDPOINT` names one, as OpenTelemetry's own
 * environment says: what else it knows of headers, intervals and the service's name is read too.
 */
import { Cause, Config, ConfigProvider, Effect, Layer, Predicate } from "effect"
import { FetchHttpClient } from "effect/http"
import { OtlpMetrics, OtlpSerialization, OtlpTracer } from "effect/observability"
import { SettingsError } from "../config/Settings.ts"
import * as Traces from "./Traces.ts"

/** What OpenTelemetry has by default, and Effect asks to be told. */
const defaults = ConfigProvider.fromEnv({
  env: { OTEL_SERVICE_NAME: "respool", OTEL_METRICS_EXPORTER: "otlp", OTEL_TRACES_EXPORTER: "otlp" },
})

const serialization = Layer.unwrap(
  Config.Literals(["http/protobuf", "http/json"], "OTEL_EXPORTER_OTLP_PROTOCOL").pipe(
    Config.withDefault("http/protobuf"),
    Effect.map((protocol) =>
      protocol === "http/json" ? OtlpSerialization.layerJson : OtlpSerialization.layerProtobuf,
    ),
  ),
)

/** A variable that can't be read stops the start with one line. */
const unreadable = (cause: Cause.Cause<unknown>) => {
  const error = Cause.squash(cause)
  const why = String(Predicate.hasProperty(error, "message") ? error.message : error).replaceAll(/\s*\n\s*/g, " ")
  return Layer.effectDiscard(
    Effect.fail(new SettingsError({ message: `OpenTelemetry's environment (OTEL_…): ${why}` })),
  )
}

/** To be built below what it tells of, so that it is told to the end. Only turns are traced. */
export const layer = Layer.merge(
  OtlpMetrics.layerFromConfig(),
  Traces.layer.pipe(Layer.provide(OtlpTracer.layerFromConfig())),
).pipe(
  Layer.provide([serialization, FetchHttpClient.layer]),
  Layer.provide(ConfigProvider.layerAdd(defaults)),
  Layer.catchCause(unreadable),
)
