/**
 * Says by what a turn's owner is found, so that every node finds the same one for all turns of a conversation.
 *
 * That is the session that the client names. Where it names none, it is how the conversation begins: its items up to the
 * user's first message, which stand in each of its later requests as well, whatever their spelling. A client that sends
 * only an id to continue from is led to where that response was made, as far as this node knows.
 */
import type { TurnRequest } from "../turn/Executor.ts"
import { condensed } from "../wire/Condensed.ts"
import type { Digester } from "../wire/Digest.ts"
import { itemInSteps } from "../wire/Item.ts"
import type { RequestBody } from "../wire/RequestBody.ts"
import { memberSpan, readMember } from "../wire/RequestBody.ts"
import type { Steps } from "../wire/Steps.ts"

export type Placement =
  | { readonly _tag: "Key"; readonly key: string }
  /** It continues a response by its id. */
  | { readonly _tag: "Anchor"; readonly id: string }
  /** Nothing tells whose it is, or this node has the conversation already. */
  | { readonly _tag: "Here" }

const here: Placement = { _tag: "Here" }

/** A conversation that has no message of a user among so many items begins with these. */
const maxBeginning = 16

/** Joined as a session's key is, so that no scope can name another's. */
const inScope = (scope: string, kind: string, text: string): Placement => ({
  _tag: "Key",
  key: `${kind} ${scope.length}:${scope}${text}`,
})

const encoder = new TextEncoder()

function* beginningOf(body: RequestBody, digester: Digester): Steps<string | undefined> {
  const { bytes, items, long } = body
  if (items === undefined) {
    const input = body.inputKind === "string" ? memberSpan(body, "input") : undefined
    const text = input === undefined ? undefined : yield* condensed(bytes, input, long, digester)
    if (text === undefined) return undefined
    // A text is one message of the user.
    const said = text.bytes.subarray(text.span.start, text.span.end)
    const message = Buffer.concat([encoder.encode('{"role":"user","content":'), said, encoder.encode("}")])
    const item = yield* itemInSteps(message, { start: 0, end: message.length }, [], digester)
    return item === undefined ? undefined : digester.list([item.form])
  }
  const forms: Array<string> = []
  for (const span of items.slice(0, maxBeginning)) {
    const item = yield* itemInSteps(bytes, span, long, digester)
    if (item === undefined) return undefined
    forms.push(item.form)
    if (item.name === "user_message") break
  }
  return forms.length === 0 ? undefined : digester.list(forms)
}

/** `digester`: under the same key on every node. */
export function* placementOf(turn: TurnRequest, digester: Digester): Steps<Placement> {
  const { body, caller, session } = turn
  const { scope } = caller
  if (scope === undefined) return here
  if (session !== undefined) return { _tag: "Key", key: session.key }
  const anchor = readMember(body, "previous_response_id")
  if (typeof anchor === "string") return { _tag: "Anchor", id: anchor }
  const conversation = readMember(body, "conversation")
  if (typeof conversation === "string") return inScope(scope, "conversation", conversation)
  // A head that is known here was remembered with a connection of this node, which knows the rest.
  if (body.firstItem > 0) return here
  const beginning = yield* beginningOf(body, digester)
  return beginning === undefined ? here : inScope(scope, "beginning", beginning)
}

/** So many responses are known, the latest. */
const maxResponses = 65_536

/** Which node made a response, of those whose turns came in here. */
export class ResponseNodes {
  readonly #nodes = new Map<string, string>()

  made(id: string, node: string) {
    this.#nodes.set(id, node)
    const [oldest] = this.#nodes.keys()
    if (oldest !== undefined && this.#nodes.size > maxResponses) this.#nodes.delete(oldest)
  }

  of(id: string): string | undefined {
    return this.#nodes.get(id)
  }
}
