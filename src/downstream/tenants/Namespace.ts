/**
 * Keeps apart the names that tenants of one account give: the same cache key, user or safety identifier of two tenants
 * arrives as two. Else a tenant could learn from the cached tokens of its answers what another has sent, and be blamed
 * for another's misuse.
 *
 * Each becomes a digest of scope, member and value: the same for the same tenant after a restart and on every node, since
 * a cache outlives a process and misuse is counted over weeks. There is no key in it that could be lost, and none is
 * needed: whoever can compute another's digest can't send it, for it would be digested again under the sender's scope.
 */
import { Result } from "effect"
import { createHash } from "node:crypto"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { bodyInSteps, readMember } from "../../wire/RequestBody.ts"
import { withMembersInSteps } from "../../wire/Frame.ts"
import type { Steps } from "../../wire/Steps.ts"

const names = ["prompt_cache_key", "user", "safety_identifier"]

/** 51 characters: the API takes at most 64. */
const digestOf = (scope: string, name: string, value: string) =>
  `respool-${createHash("sha256")
    .update(JSON.stringify([scope, name, value]))
    .digest("base64url")}`

/** The same body where it holds none of them. What is no text is left for the upstream to refuse. */
export function* namespaced(scope: string, body: RequestBody): Steps<RequestBody> {
  const set = new Map<string, string>()
  for (const name of names) {
    const value = readMember(body, name)
    if (typeof value === "string") set.set(name, JSON.stringify(digestOf(scope, name, value)))
  }
  if (set.size === 0) return body
  return Result.getOrElse(yield* bodyInSteps(yield* withMembersInSteps(body, set)), () => body)
}
