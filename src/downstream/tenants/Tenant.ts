/**
 * The rules where many tenants share one upstream account: no tenant may use an id of another, and the ids that an
 * answer makes belong to the tenant that asked for it (docs/operate.md, Who is asking).
 */
import { doneItem, isTerminal, responseText } from "../../wire/Event.ts"
import { idsOf } from "./OwnedIds.ts"
import type { Ownership } from "./Ownership.ts"

/** Headers that choose a part of the shared account, which a tenant must not do. */
const ofTheAccount = ["openai-organization", "openai-project", "chatgpt-account-id"]

export const tenantHeaders = (headers: Readonly<Record<string, string | undefined>>) => ({
  ...headers,
  ...Object.fromEntries(ofTheAccount.map((name) => [name, undefined])),
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

/** Does the same for an answer that is no turn's: an object, or events. */
export const recordAnswer = (ownership: Ownership["Service"], owner: string) => ({
  whole: (text: string) => {
    try {
      ownership.record(owner, idsOf(JSON.parse(text)))
    } catch {
      // What is no JSON names nothing.
    }
  },
  event: recordEvents(ownership, owner),
})
