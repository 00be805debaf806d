/**
 * Reads metrics as Prometheus' text has them.
 */
import { Effect } from "effect"
import { ask } from "./Ask.ts"
import { TestProxy } from "./TestProxy.ts"

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const samplesIn = (text: string): ReadonlyArray<Sample> =>
  text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, name = "", labels = "", value = ""] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      if (name === "") throw new Error(`no sample: ${line}`)
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = "", text = ""]) => [key, text])
      return { name, labels: Object.fromEntries(pairs) as Readonly<Record<string, string>>, value: Number(value) }
    })

/** Adds up what a metric's series with these labels say. */
export const sum = (samples: ReadonlyArray<Sample>, name: string, labels: Sample["labels"] = {}): number =>
  samples
    .filter((one) => one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0)

/** What a proxy shows at `/metrics`. */
export const scrapedAt = (origin: string) => Effect.map(ask(`${origin}/metrics`), ({ text }) => samplesIn(text))

/** The same of the proxy of a test. */
export const scraped = Effect.flatMap(TestProxy, ({ url }) => scrapedAt(new URL(url).origin))
