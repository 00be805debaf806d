/**
 * Says which members of a request decide, and why: those must be the same as in the turn before to send only a suffix.
 *
 * A chained request does not inherit `instructions`, `tools` and the like (docs/protocol.md 1.3), so they are sent with
 * every turn and may change. A member that is not listed may change as well: the upstream judges what it is sent.
 */
import type { Digester } from "../../wire/Digest.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { memberSpan } from "../../wire/RequestBody.ts"
import { condensed } from "../../wire/Condensed.ts"
import type { Steps } from "../../wire/Steps.ts"

interface MemberRule {
  readonly role: "decides" | "may change" | "never counts"
  readonly why: string
}

const memberRules: Readonly<Record<string, MemberRule>> = {
  model: { role: "decides", why: "reasoning and caches are one model's; upstreams may bind a connection to it" },
  store: { role: "decides", why: "an unstored chain lives on its connection alone, a stored one anywhere" },
  conversation: { role: "decides", why: "it is another way to keep state, which excludes an anchor" },
  prompt: { role: "decides", why: "a template brings items of its own into the context" },
  truncation: { role: "decides", why: "it says which items of the context the model loses" },
  context_management: { role: "decides", why: "it says when the upstream replaces the context by a compacted one" },
  include: { role: "decides", why: "it says whether reasoning comes back encrypted, which the next replay needs" },
  input: { role: "never counts", why: "it is compared item by item" },
  previous_response_id: { role: "never counts", why: "the client's own anchor is followed, not compared" },
  type: { role: "never counts", why: "respool's to set" },
  stream: { role: "never counts", why: "how the client reads, not what is asked" },
  stream_options: { role: "never counts", why: "how the client reads, not what is asked" },
  stream_id: { role: "never counts", why: "respool's to set" },
  background: { role: "never counts", why: "does not exist on the socket" },
  background_options: { role: "never counts", why: "does not exist on the socket" },
  generate: { role: "never counts", why: "respool's to set" },
  client_metadata: { role: "never counts", why: "Codex fills it anew with every request" },
  metadata: { role: "may change", why: "a label of one response" },
  instructions: { role: "may change", why: "not inherited by a chain, sent with every turn" },
  tools: { role: "may change", why: "not inherited by a chain, sent with every turn" },
  tool_choice: { role: "may change", why: "for one response" },
  parallel_tool_calls: { role: "may change", why: "for one response" },
  reasoning: { role: "may change", why: "for one response" },
  text: { role: "may change", why: "for one response" },
  temperature: { role: "may change", why: "for one response" },
  top_p: { role: "may change", why: "for one response" },
  top_logprobs: { role: "may change", why: "for one response" },
  max_output_tokens: { role: "may change", why: "for one response" },
  max_tool_calls: { role: "may change", why: "for one response" },
  service_tier: { role: "may change", why: "for one response" },
  moderation: { role: "may change", why: "for one response" },
  prompt_cache_key: { role: "may change", why: "a hint for the cache" },
  prompt_cache_options: { role: "may change", why: "a hint for the cache" },
  prompt_cache_retention: { role: "may change", why: "a hint for the cache" },
  user: { role: "may change", why: "it is part of the affinity already" },
  safety_identifier: { role: "may change", why: "it is part of the affinity already" },
}

const deciding = Object.entries(memberRules)
  .filter(([, { role }]) => role === "decides")
  .map(([name]) => name)

/**
 * The digests of the members that decide, in one text. A null member means the default, as a missing one does. Undefined:
 * one of them is too large to look into.
 */
export function* membersInSteps(body: RequestBody, digester: Digester): Steps<string | undefined> {
  const texts: Array<string> = []
  for (const name of deciding) {
    const span = memberSpan(body, name)
    if (span === undefined || body.bytes[span.start] === 0x6e) {
      texts.push("absent")
      continue
    }
    const value = yield* condensed(body.bytes, span, body.long, digester)
    if (value === undefined) return undefined
    texts.push(digester.value(value.bytes, value.span))
  }
  return texts.join(separator)
}

/** Stands in no digest. */
const separator = ","

/** The names of the members that decide in which two such texts differ. */
export const changedMembers = (one: string, other: string): ReadonlyArray<string> => {
  const others = other.split(separator)
  return one.split(separator).flatMap((digest, index) => (digest === others[index] ? [] : (deciding[index] ?? [])))
}
