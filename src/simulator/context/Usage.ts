/**
 * Counts tokens: one for every four bytes.
 *
 * The full logical context is billed whether it was sent or not; what the prompt cache holds depends on the connection
 * (docs/protocol.md 1.3): all of the known prefix on the connection that saw it last, 40 % of it elsewhere, none where
 * instructions, tools or reasoning effort changed. Cached tokens come in blocks of 128.
 */
export interface Usage {
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  readonly reasoningTokens: number
}

export const tokensOf = (bytes: number): number => Math.ceil(bytes / 4)

export const cachedTokensOf = (knownBytes: number, sameConnection: boolean): number =>
  Math.floor((tokensOf(knownBytes) * (sameConnection ? 1 : 0.4)) / 128) * 128

export const usageText = (usage: Usage): string =>
  JSON.stringify({
    input_tokens: usage.inputTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.inputTokens + usage.outputTokens,
  })
