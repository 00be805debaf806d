/**
 * Makes one span of each turn, with OpenTelemetry's attributes for generative AI, as a part of its client's trace.
 *
 * A client that sends `traceparent` finds the turn in its own trace, and the upstream is told the turn's: in the headers
 * of the request over HTTP, and over a socket in those of the upgrade, where the turn opens one. When the connection was
 * dialled and had, and when the first event came, are events of the span. A span names ids, which no metric does, but
 * neither content nor credentials.
 */
import { Clock, Context, Effect, Exit, Layer, Option, Tracer } from "effect"
import { Settings } from "../config/Settings.ts"
import { monotonicMillisOf } from "../turn/Elapsed.ts"
import type { TurnRequest } from "../turn/Executor.ts"
import { Tracing } from "../turn/record/Tracing.ts"
import type { TurnRecord } from "../turn/record/TurnRecord.ts"
import { readMember } from "../wire/RequestBody.ts"
import { providers, succeeded } from "./GenAi.ts"

/** `traceparent` as W3C's Trace Context has it, of this version or a later one. */
const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/

const parentOf = (header: string | undefined): Option.Option<Tracer.AnySpan> => {
  const [, traceId, spanId, flags] = traceparent.exec(header ?? "") ?? []
  if (traceId === undefined || spanId === undefined) return Option.none()
  return Option.some(Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags ?? "", 16) & 1) === 1 }))
}

const nanos = (millis: number) => BigInt(millis) * 1_000_000n

const beginWith = Effect.fnUntraced(function* (tracer: Tracer.Tracer) {
  const { upstreams } = yield* Settings
  const clock = yield* Clock.Clock
  const names = new Map(upstreams.map(({ name, profile }) => [name, providers[profile] ?? "_OTHER"]))

  const attributesOf = ({ firstMs, leaseMs, turn, usage, way, ...record }: TurnRecord) => ({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": names.get(way?.upstream ?? "") ?? "_OTHER",
    "gen_ai.request.model": record.model,
    "gen_ai.request.stream": turn.stream,
    "gen_ai.conversation.id": turn.session?.name,
    "gen_ai.usage.input_tokens": usage?.input,
    "gen_ai.usage.output_tokens": usage?.output,
    "gen_ai.usage.cache_read.input_tokens": usage?.cached,
    "gen_ai.usage.reasoning.output_tokens": usage?.reasoning,
    "gen_ai.response.time_to_first_chunk": firstMs === undefined ? undefined : (firstMs - (leaseMs ?? 0)) / 1000,
    "openai.api.type": "responses",
    "error.type": succeeded.has(record.outcome) ? undefined : record.outcome,
    "http.response.status_code": record.told?.status,
    "respool.request": turn.id,
    "respool.upstream": way?.upstream,
    "respool.transport": way?.transport,
    "respool.connection": way?.connection,
    "respool.input": way?.input,
    "respool.reason": way?.reason,
    "respool.outcome": record.outcome,
    "respool.attempts": record.attempts,
    "respool.upstream.status": record.upstreamStatus,
    "respool.upstream.code": record.upstreamCode,
  })

  return (turn: TurnRequest) => {
    const { body, headers, startedAt } = turn
    const parent = parentOf(headers["traceparent"])
    const model = readMember(body, "model")
    const startTime = clock.currentTimeNanosUnsafe() - nanos(monotonicMillisOf(clock) - startedAt)
    const span = tracer.span({
      name: typeof model === "string" && model.length <= 128 ? `chat ${model}` : "chat",
      parent,
      annotations: Context.empty(),
      links: [],
      startTime,
      kind: "client",
      root: Option.isNone(parent),
      sampled: Option.match(parent, { onNone: () => true, onSome: ({ sampled }) => sampled }),
    })
    const { tracestate } = headers
    return {
      headers: {
        traceparent: `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`,
        ...(tracestate === undefined || Option.isNone(parent) ? {} : { tracestate }),
      },
      end: (record: TurnRecord) => {
        if (!span.sampled) return
        for (const [name, value] of Object.entries(attributesOf(record))) {
          if (value !== undefined) span.attribute(name, value)
        }
        const { firstMs, leaseMs, outcome, totalMs, way } = record
        const happened = (name: string, at: number | undefined) => {
          if (at !== undefined) span.event(name, startTime + nanos(at))
        }
        if (leaseMs !== undefined && way?.dialMs !== undefined) happened("dial", Math.max(0, leaseMs - way.dialMs))
        happened("lease", leaseMs)
        happened("send", leaseMs)
        happened("first event", firstMs)
        const failed = !succeeded.has(outcome) && outcome !== "cancelled"
        span.end(startTime + nanos(totalMs), failed ? Exit.fail(outcome) : Exit.void)
      },
    }
  }
})

/** With the tracer of the context, unless turns are traced already; the one that Effect has by default traces nothing. */
export const layer = Layer.effect(
  Tracing,
  Effect.gen(function* () {
    const known = yield* Tracing
    const tracer = yield* Tracer.Tracer
    return known ?? (tracer === Tracer.nativeTracer ? undefined : yield* beginWith(tracer))
  }),
)
