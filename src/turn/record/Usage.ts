/**
 * Reads what a finished response says that it used, in tokens.
 */

export interface Usage {
  readonly input: number
  /** Of the input, what the upstream had cached. */
  readonly cached: number
  readonly output: number
  /** Of the output, what was reasoning. */
  readonly reasoning: number
}

/** `text`: the JSON text of a response's `usage`. Undefined: it is absent, null, or counts nothing. */
export const usageOf = (text: string | undefined): Usage | undefined => {
  if (text === undefined || !text.startsWith("{")) return undefined
  const usage = JSON.parse(text) as Members
  if (!isCount(usage["input_tokens"]) && !isCount(usage["output_tokens"])) return undefined
  return {
    input: countOf(usage["input_tokens"]),
    cached: countOf(within(usage, "input_tokens_details")["cached_tokens"]),
    output: countOf(usage["output_tokens"]),
    reasoning: countOf(within(usage, "output_tokens_details")["reasoning_tokens"]),
  }
}

/** Of two responses of one turn, where a steered one has a successor. */
export const together = (one: Usage | undefined, other: Usage | undefined): Usage | undefined =>
  one === undefined || other === undefined
    ? (one ?? other)
    : {
        input: one.input + other.input,
        cached: one.cached + other.cached,
        output: one.output + other.output,
        reasoning: one.reasoning + other.reasoning,
      }

type Members = Readonly<Record<string, unknown>>

const isCount = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value) && value >= 0

const countOf = (value: unknown): number => (isCount(value) ? value : 0)

const within = (members: Members, name: string): Members => {
  const value = members[name]
  return typeof value === "object" && value !== null ? (value as Members) : {}
}
