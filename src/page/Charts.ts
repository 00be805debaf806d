/**
 * Draws the minutes of the last hour: lines where a share or a time is meant, bars where something is counted.
 */
import type { Minute } from "../observe/live/Frame.ts"
import { element, svg } from "./Dom.ts"
import { bytes, count, millis } from "../observe/live/Format.ts"

const minutes = 60
const width = 600
const height = 100

type Value = (minute: Minute) => number | undefined

interface Chart {
  readonly title: string
  /** From the lowest in the chart to the topmost. */
  readonly series: ReadonlyArray<{ readonly name: string; readonly value: Value }>
  readonly kind: "line" | "bar"
  readonly shown: (value: number) => string
  /** The top of the scale; undefined: the largest value. */
  readonly top?: number
  /** Names its series even where there is one alone. */
  readonly named?: boolean
}

const share = (part: number, whole: number) => (whole === 0 ? undefined : part / whole)
const asPercent = (value: number) => `${(100 * value).toFixed(0)} %`

/** So many reasons have a colour of their own. */
const coloured = 5

const evictions = (all: ReadonlyArray<Minute>): Chart => {
  const sums = new Map<string, number>()
  for (const { evictions } of all) {
    for (const [reason, number] of Object.entries(evictions)) sums.set(reason, (sums.get(reason) ?? 0) + number)
  }
  const names = [...sums].sort(([, a], [, b]) => b - a).map(([name]) => name)
  const others = names.slice(coloured)
  const one =
    (name: string): Value =>
    ({ evictions }) =>
      evictions[name] ?? 0
  return {
    title: "Evictions by reason",
    named: true,
    kind: "bar",
    shown: count,
    series: [
      ...names.slice(0, coloured).map((name) => ({ name, value: one(name) })),
      ...(others.length === 0
        ? []
        : [
            {
              name: "others",
              value: ({ evictions }: Minute) => others.reduce((sum, name) => sum + (evictions[name] ?? 0), 0),
            },
          ]),
    ],
  }
}

const chartsOf = (all: ReadonlyArray<Minute>): ReadonlyArray<Chart> => [
  {
    title: "Turns sent as a suffix",
    kind: "line",
    shown: asPercent,
    top: 1,
    series: [{ name: "share", value: ({ suffix, turns }) => share(suffix, turns) }],
  },
  {
    title: "Cached input of turns that go on",
    kind: "line",
    shown: asPercent,
    top: 1,
    series: [{ name: "share", value: (one) => share(one.followUpCachedTokens, one.followUpInputTokens) }],
  },
  {
    title: "First event",
    kind: "line",
    shown: millis,
    series: [
      { name: "p50", value: ({ p50 }) => p50 },
      { name: "p95", value: ({ p95 }) => p95 },
    ],
  },
  {
    title: "Input bytes saved",
    kind: "bar",
    shown: bytes,
    series: [{ name: "saved", value: ({ saved }) => Math.max(0, saved) }],
  },
  evictions(all),
  {
    title: "Fallbacks to HTTP",
    kind: "bar",
    shown: count,
    series: [{ name: "turns", value: ({ fallbacks }) => fallbacks }],
  },
]

const xOf = (minute: number, now: number) => width - ((now - minute + 0.5) * width) / minutes

const lines = ({ series }: Chart, all: ReadonlyArray<Minute>, now: number, top: number): ReadonlyArray<SVGElement> =>
  series.flatMap(({ value }, index) => {
    const points = all.flatMap((one) => {
      const at = value(one)
      return at === undefined ? [] : [[xOf(one.minute, now), height - (at / top) * (height - 4)] as const]
    })
    const line = svg("polyline", {
      class: `line s${index}${index === 0 ? "" : " dashed"}`,
      points: points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "),
    })
    // One minute alone makes no line.
    return [line, ...points.slice(-1).map(([cx, cy]) => svg("circle", { class: `s${index}`, cx, cy, r: 3 }))]
  })

const bars = ({ series }: Chart, all: ReadonlyArray<Minute>, now: number, top: number): ReadonlyArray<SVGElement> =>
  all.flatMap((one) => {
    let below = 0
    return series.map(({ value }, index) => {
      const size = ((value(one) ?? 0) / top) * (height - 4)
      below += size
      const x = xOf(one.minute, now) - width / minutes / 2 + 1
      return svg("rect", { class: `s${index}`, x, y: height - below, width: width / minutes - 2, height: size })
    })
  })

const summary = ({ series, shown, title }: Chart, all: ReadonlyArray<Minute>): string => {
  const said = series.flatMap(({ name, value }) => {
    const values = all.flatMap((one) => value(one) ?? [])
    const latest = values.at(-1)
    if (latest === undefined) return []
    return [`${name}: latest ${shown(latest)}, from ${shown(Math.min(...values))} to ${shown(Math.max(...values))}`]
  })
  return `${title}, minute by minute. ${said.length === 0 ? "Nothing yet." : said.join("; ")}`
}

const legend = ({ series }: Chart) =>
  element(
    "ul",
    { class: "legend" },
    ...series.map(({ name }, index) => {
      const sample = svg(
        "svg",
        { viewBox: "0 0 1 1", "aria-hidden": "true" },
        svg("rect", { class: `s${index}`, width: 1, height: 1 }),
      )
      return element("li", {}, sample, name)
    }),
  )

const drawn = (chart: Chart, all: ReadonlyArray<Minute>, now: number): HTMLElement => {
  const { kind, series, shown, title } = chart
  const sums = all.map((one) => {
    const values = series.map(({ value }) => value(one) ?? 0)
    return kind === "bar" ? values.reduce((sum, value) => sum + value, 0) : Math.max(0, ...values)
  })
  const top = chart.top ?? Math.max(0, ...sums)
  const marks = top === 0 ? [] : kind === "bar" ? bars(chart, all, now, top) : lines(chart, all, now, top)
  const image = svg(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": summary(chart, all) },
    svg("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }),
    svg("line", { class: "axis", x1: 0, x2: width, y1: 4, y2: 4 }),
    ...marks,
  )
  const caption = element("figcaption", {}, element("strong", {}, title), element("span", {}, `to ${shown(top)}`))
  return element("figure", {}, caption, image, ...(series.length > 1 || chart.named === true ? [legend(chart)] : []))
}

/** `now`: the number of the minute that goes on. */
export const charts = (all: ReadonlyArray<Minute>, now: number): ReadonlyArray<HTMLElement> =>
  chartsOf(all).map((chart) => drawn(chart, all, now))
