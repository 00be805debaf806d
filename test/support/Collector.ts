/**
 * A collector of OpenTelemetry's: keeps what is posted to it as OTLP in JSON.
 */
import { Effect } from "effect"

type Value = { readonly stringValue?: string; readonly intValue?: number | string; readonly doubleValue?: number }

interface Named {
  readonly key: string
  readonly value: Value
}

interface Point {
  readonly attributes: ReadonlyArray<Named>
  readonly asInt?: number | string
  readonly asDouble?: number
  readonly count?: number | string
}

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly attributes: ReadonlyArray<Named>
  readonly events: ReadonlyArray<{ readonly name: string; readonly timeUnixNano: string }>
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly status: { readonly code: number }
}

interface MetricOf {
  readonly name: string
  readonly sum?: { readonly dataPoints: ReadonlyArray<Point> }
  readonly gauge?: { readonly dataPoints: ReadonlyArray<Point> }
  readonly histogram?: { readonly dataPoints: ReadonlyArray<Point> }
}

export const attributesOf = ({ attributes }: { readonly attributes: ReadonlyArray<Named> }) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

/** `url` is for `OTEL_EXPORTER_OTLP_ENDPOINT`. Lives as long as the scope. */
export const makeCollector = Effect.gen(function* () {
  const spans: Array<Span> = []
  const texts: Array<string> = []
  let metrics: ReadonlyArray<MetricOf> = []
  const take = async (request: Request) => {
    const text = await request.text()
    texts.push(text)
    const { resourceMetrics = [], resourceSpans = [] } = JSON.parse(text) as {
      resourceSpans?: ReadonlyArray<{ scopeSpans: ReadonlyArray<{ spans: ReadonlyArray<Span> }> }>
      resourceMetrics?: ReadonlyArray<{ scopeMetrics: ReadonlyArray<{ metrics: ReadonlyArray<MetricOf> }> }>
    }
    for (const { scopeSpans } of resourceSpans) for (const one of scopeSpans) spans.push(...one.spans)
    const all = resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((one) => one.metrics))
    if (all.length > 0) metrics = all
    return new Response("{}", { headers: { "content-type": "application/json" } })
  }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: take })),
    (server) => Effect.promise(() => server.stop(true)),
  )
  /** Adds up the points of the latest metrics with that name and these attributes. */
  const sum = (name: string, attributes: Readonly<Record<string, string>> = {}) =>
    metrics
      .filter((metric) => metric.name === name)
      .flatMap(({ gauge, histogram, sum }) => (sum ?? gauge ?? histogram)?.dataPoints ?? [])
      .filter((point) => {
        const of = attributesOf(point)
        return Object.entries(attributes).every(([key, value]) => of[key] === value)
      })
      .reduce((sum, { asDouble, asInt, count }) => sum + Number(asDouble ?? asInt ?? count ?? 0), 0)
  return { url: `http://127.0.0.1:${server.port}`, spans, texts, sum, names: () => metrics.map(({ name }) => name) }
})
