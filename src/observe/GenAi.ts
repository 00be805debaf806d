/**
 * The turns once more under the names of OpenTelemetry's conventions for generative AI, for dashboards that know those.
 *
 * These are the names that dashboards read today; with `OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental` the
 * client's have those of the conventions' release 0.1.0 instead. For the upstream respool is a client, which asks once
 * the connection is had; for its clients it is a server, which answers from when they ask.
 */
import { Config, Effect } from "effect"
import { Settings } from "../config/Settings.ts"
import type { TurnRecord } from "../turn/record/TurnRecord.ts"
import type { Attributes, Registry } from "./MetricSeries.ts"
import { Family } from "./MetricSeries.ts"

/** As the conventions have it, in seconds and in tokens. */
const durations = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
const sizes = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216, 67_108_864]

/** The names of providers that the conventions know. */
export const providers: Readonly<Record<string, string>> = {
  openai: "openai",
  codex: "openai",
  azure: "azure.ai.openai",
  xai: "x_ai",
}

const optIn = "gen_ai_latest_experimental"

/** Attributes that have no value are left out. */
const given = (attributes: Readonly<Record<string, string | undefined>>): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter((entry): entry is [string, string] => entry[1] !== undefined))

/** The series of turns with the same provider, model and kind of failure. */
const makeSeries = (registry: Registry, latest: boolean) => (labels: Attributes) => {
  const { error = "", model = "", provider = "" } = labels
  const common = given({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": provider,
    "gen_ai.request.model": model === "" ? undefined : model,
  })
  const ended = { ...common, ...given({ "error.type": error === "" ? undefined : error }) }
  const histogram = (name: string, about: string, attributes = ended, bounds = durations, unit = "s") =>
    registry.histogram(name, about, attributes, bounds, unit)
  const tokens = (name: string, about: string, attributes = common) =>
    histogram(name, about, attributes, sizes, "{token}")
  const used = (of: string) => {
    const attributes = { ...common, "gen_ai.token.modality": "unknown" }
    return registry.counter(
      `gen_ai.client.inference.usage.${of}`,
      `Used ${of.replace(/[._]/g, " ")}`,
      attributes,
      "{token}",
    )
  }
  const client = latest ? "gen_ai.client.inference" : "gen_ai.client.operation"
  const inference = "gen_ai.client.inference.operation"
  const usage = "gen_ai.client.token.usage"
  const about = "Input and output tokens used"
  return {
    asked: histogram(`${client}.duration`, "Duration of requests to the upstream"),
    firstChunk: histogram(`${client}.time_to_first_chunk`, "Time to the upstream's first event", common),
    answered: histogram("gen_ai.server.request.duration", "Duration of requests of clients"),
    firstToken: histogram("gen_ai.server.time_to_first_token", "Time to the first event to the client", common),
    input: latest
      ? tokens(`${inference}.input_tokens`, "Input tokens used")
      : tokens(usage, about, { ...common, "gen_ai.token.type": "input" }),
    output: latest
      ? tokens(`${inference}.output_tokens`, "Output tokens used")
      : tokens(usage, about, { ...common, "gen_ai.token.type": "output" }),
    totals: latest
      ? {
          input: used("input_tokens"),
          cached: used("cache_read.input_tokens"),
          output: used("output_tokens"),
          reasoning: used("reasoning.output_tokens"),
        }
      : undefined,
  }
}

/** Outcomes that are no failure. */
export const succeeded: ReadonlySet<string> = new Set(["completed", "incomplete", "queued", "in_progress"])

/** Counts a turn that is over. */
export const counting = Effect.fnUntraced(function* (registry: Registry) {
  const { upstreams } = yield* Settings
  const opted = yield* Effect.orElseSucceed(Config.String("OTEL_SEMCONV_STABILITY_OPT_IN"), () => "")
  const latest = opted.split(",").some((one) => one.trim() === optIn)
  // A client may name any model, so only those that the settings name are shown.
  const models = new Set(upstreams.flatMap(({ models }) => models).filter((model) => !model.includes("*")))
  const names = new Map(upstreams.map(({ name, profile }) => [name, providers[profile] ?? "_OTHER"]))
  const series = new Family(["provider", "model", "error"], makeSeries(registry, latest))

  return ({ firstMs, leaseMs, model, outcome, totalMs, usage, way }: TurnRecord) => {
    const shown = model !== undefined && models.has(model) ? model : ""
    const error = succeeded.has(outcome) ? "" : outcome
    const one = series.of(names.get(way?.upstream ?? "") ?? "_OTHER", shown, error)
    one.answered.observe(totalMs / 1000)
    if (leaseMs !== undefined) one.asked.observe((totalMs - leaseMs) / 1000)
    if (firstMs !== undefined) {
      one.firstToken.observe(firstMs / 1000)
      one.firstChunk.observe((firstMs - (leaseMs ?? 0)) / 1000)
    }
    if (usage === undefined) return
    one.input.observe(usage.input)
    one.output.observe(usage.output)
    if (one.totals === undefined) return
    one.totals.input.count += usage.input
    one.totals.cached.count += usage.cached
    one.totals.output.count += usage.output
    one.totals.reasoning.count += usage.reasoning
  }
})
