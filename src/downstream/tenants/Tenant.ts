/**
 * The rules where many tenants share one upstream account: no tenant may use an id of another, and the ids that an
 * answer makes belong to the tenant that asked for it (docs/operate.md, Who is asking).
 */
import { Effect } from "effect"
import { CanonicalWriter } from "../../wire/Canonical.ts"
import { doneItem, isTerminal, responseText } from "../../wire/Event.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { ApiError, shortened } from "../ApiError.ts"
import { idsOf } from "./OwnedIds.ts"
import type { Ownership } from "./Ownership.ts"

const decoder = new TextDecoder()

/** Headers that choose a part of the shared account, which a tenant must not do. */
const ofTheAccount = ["openai-organization", "openai-project", "chatgpt-account-id"]

export const tenantHeaders = (headers: Readonly<Record<string, string | undefined>>) => ({
  ...headers,
  ...Object.fromEntries(ofTheAccount.map((name) => [name, undefined])),
})

/**
 * Fails with the answer for a body that uses an id it must not use. A member that appears twice anywhere is refused
 * first, since it is not known which of the two the upstream reads.
 */
export const checkTenantBody = (
  ownership: Ownership["Service"],
  scope: string,
  body: RequestBody,
): Effect.Effect<void, ApiError> =>
  Effect.suspend(() => {
    const writer = new CanonicalWriter()
    for (const member of body.members.values()) {
      writer.reset()
      writer.value(body.bytes, member)
      if (writer.hasDuplicateMember) {
        return Effect.fail(
          ApiError.badRequest(
            "duplicate_member",
            `A member appears twice inside ${JSON.stringify(shortened(member.key))}.`,
            member.key,
          ),
        )
      }
    }
    return ownership.check(scope, JSON.parse(decoder.decode(body.bytes)))
  })

/** Events that carry the whole response before its end: the first of them tells the client its id. */
const naming: ReadonlySet<string> = new Set(["response.created", "response.queued", "response.in_progress"])

/**
 * Records the ids that a turn makes, event by event before each goes out: an id has its owner before a client reads it.
 */
export const recordEvents = (ownership: Ownership["Service"], owner: string) => (type: string, text: string) => {
  if (type === "response.output_item.done" || type === "response.output_item.added") {
    const done = doneItem(text)
    if (done !== undefined) ownership.record(owner, idsOf(JSON.parse(done.item)))
  } else if (naming.has(type) || isTerminal(type)) {
    const response = responseText(text)
    if (response !== undefined) ownership.record(owner, idsOf(JSON.parse(response)))
  }
}
