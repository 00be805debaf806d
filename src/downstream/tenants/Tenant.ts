/**
 * The rules where many tenants share one upstream account: no request may use an id of another, and what an answer makes
 * belongs to who asked for it (docs/operate.md, Who is asking).
 */
import { Effect } from "effect"
import { CanonicalWriter } from "../../wire/Canonical.ts"
import { doneItem, isTerminal, responseText } from "../../wire/Event.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { ApiError } from "../ApiError.ts"
import { idsOf } from "./OwnedIds.ts"
import type { Ownership } from "./Ownership.ts"

const decoder = new TextDecoder()

/** Which part of the shared account a request is for is not the tenant's to choose. */
const ofTheAccount = ["openai-organization", "openai-project", "chatgpt-account-id"]

export const tenantHeaders = (headers: Readonly<Record<string, string | undefined>>) => ({
  ...headers,
  ...Object.fromEntries(ofTheAccount.map((name) => [name, undefined])),
})

/**
 * Fails with the answer for a body that uses an id it must not. A member that appears twice anywhere is refused first:
 * nobody can say which of the two the upstream reads.
 */
export const checkTenantBody = (
  ownership: Ownership["Service"],
  owner: string,
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
            `A member appears twice inside ${JSON.stringify(member.key)}.`,
            member.key,
          ),
        )
      }
    }
    return ownership.check(owner, JSON.parse(decoder.decode(body.bytes)))
  })

/** Events that carry the whole response before its end: the first of them tells the client its id. */
const naming: ReadonlySet<string> = new Set(["response.created", "response.queued", "response.in_progress"])

/** Records the ids of a turn's events; called with each before it goes out, so that no client knows an id before its owner. */
export const recordEvents = (ownership: Ownership["Service"], owner: string) => (type: string, text: string) => {
  if (type === "response.output_item.done" || type === "response.output_item.added") {
    const done = doneItem(text)
    if (done !== undefined) ownership.record(owner, idsOf(JSON.parse(done.item)))
  } else if (naming.has(type) || isTerminal(type)) {
    const response = responseText(text)
    if (response !== undefined) ownership.record(owner, idsOf(JSON.parse(response)))
  }
}
