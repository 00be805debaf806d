/**
 * Takes a conversation through the planner turn by turn, and keeps the context that the upstream would have.
 *
 * The chain is what production does without its sockets: the checkpoint of a turn comes from the client's body and the
 * upstream's items, the next turn is planned from it, and the upstream's context grows by what the plan sends.
 */
import { assert } from "@effect/vitest"
import { Result } from "effect"
import { type Checkpoint, checkpointOf } from "../../src/turn/memory/Checkpoint.ts"
import { make as makeBodyHeads } from "../../src/turn/memory/BodyHeads.ts"
import { itemsIn, type Lineage, lineageOf } from "../../src/turn/memory/Lineage.ts"
import { type Plan, plan } from "../../src/turn/memory/Plan.ts"
import { makeDigester } from "../../src/wire/Digest.ts"
import { toFrame } from "../../src/wire/Frame.ts"
import { parseRequestBody } from "../../src/wire/RequestBody.ts"
import { choicesFrom, type Exchange } from "./Conversation.ts"
import { type Json, type JsonObject, respelled, write } from "./JsonValue.ts"
import type { ReplayStyle } from "./ReplayStyle.ts"
import { type Known, sameContext } from "./SameContext.ts"
import { utf8 } from "./Bytes.ts"

export type Policy = "lenient" | "strict"

export const policies: ReadonlyArray<Policy> = ["lenient", "strict"]

export const digester = makeDigester(utf8("test"))

export const lineageFrom = (body: string): Lineage =>
  lineageOf(Result.getOrThrow(parseRequestBody(utf8(body))), digester)

/** What the client sends for one exchange: all that was, in its own style, and what is new. */
export const inputOf = (conversation: ReadonlyArray<Exchange>, now: number, style: ReplayStyle) => {
  const input: Array<JsonObject> = []
  for (const [turn, { answer, ask }] of conversation.slice(0, now + 1).entries()) {
    input.push(...ask.map((item, index) => style.own?.(item, { turn, index, now }) ?? item))
    if (turn < now) input.push(...answer.flatMap((item, index) => style.replay(item, { turn, index, now })))
  }
  return input
}

/** A single text may be written as the whole input. */
const inputMember = (input: ReadonlyArray<JsonObject>, seed: number): Json => {
  const text = input.length === 1 && input[0]?.["role"] === "user" ? input[0]["content"] : undefined
  return typeof text === "string" && seed % 2 === 0 ? text : input
}

const bodyOf = (input: ReadonlyArray<JsonObject>, seed: number, more: JsonObject): string => {
  const body = { model: "gpt-5.5", input: inputMember(input, seed), store: false, ...more }
  return seed % 6 === 0 ? respelled(body, choicesFrom(seed)) : write(body)
}

/** One upstream connection as one policy drives it: what its context is, and what is remembered of it. */
interface Chain {
  readonly policy: Policy
  checkpoint: Checkpoint | undefined
  context: ReadonlyArray<JsonObject>
}

export interface Planned {
  readonly turn: number
  readonly policy: Policy
  readonly plan: Plan
  readonly input: ReadonlyArray<JsonObject>
  /** What goes up, as text. */
  readonly frame: string
}

/** Plans the request, and holds the law: the upstream's context is the client's. */
const ask = (chain: Chain, lineage: Lineage, input: ReadonlyArray<JsonObject>, known: Known): Plan => {
  const planned = plan(lineage, chain.checkpoint, chain.policy)
  if (planned._tag === "Full") {
    chain.context = input
    return planned
  }
  assert.strictEqual(planned.previousResponseId, chain.checkpoint?.responseId)
  chain.context = [...chain.context, ...input.slice(planned.fromItem)]
  if (!sameContext(chain.context, input, known, chain.policy === "lenient")) {
    assert.fail(
      `${chain.policy}: sent from item ${planned.fromItem}\nupstream ${write(chain.context)}\nclient   ${write(input)}`,
    )
  }
  return planned
}

/** How many requests began with a head that was known. */
export let headsFound = 0

/** Runs a conversation under both policies. `edit` may change what the client sends, `more` are further members of it. */
export const converse = (
  conversation: ReadonlyArray<Exchange>,
  style: ReplayStyle,
  seed: number,
  edit: (input: ReadonlyArray<JsonObject>, turn: number) => ReadonlyArray<JsonObject> = (input) => input,
  more: (turn: number) => JsonObject = () => ({}),
): ReadonlyArray<Planned> => {
  const chains = policies.map((policy): Chain => ({ policy, checkpoint: undefined, context: [] }))
  const known = new Map<string, JsonObject>()
  const results: Array<Planned> = []
  const heads = makeBodyHeads(new Uint8Array(16), 0)
  for (const [turn, { answer }] of conversation.entries()) {
    const input = edit(inputOf(conversation, turn, style), turn)
    const bytes = utf8(bodyOf(input, seed + turn, more(turn)))
    const body = Result.getOrThrow(parseRequestBody(bytes))
    const lineage = lineageOf(body, digester)
    const head = heads.find("line", bytes)
    let read = body
    if (head !== undefined) {
      // What is read behind a known head says the same as the whole.
      const rest = Result.getOrThrow(parseRequestBody(bytes, head.head))
      const short = lineageOf(rest, digester, head.prefix)
      assert.strictEqual(itemsIn(short), itemsIn(lineage))
      assert.deepStrictEqual(short.prefixes.at(-1), lineage.prefixes.at(-1))
      assert.deepStrictEqual([...rest.members.keys()], [...body.members.keys()])
      for (const { checkpoint, policy } of chains) {
        const planned = plan(short, checkpoint, policy)
        assert.deepStrictEqual(planned, plan(lineage, checkpoint, policy))
        assert.deepStrictEqual(toFrame(rest, planned), toFrame(body, planned))
      }
      headsFound++
      read = rest
    }
    for (const chain of chains) {
      const planned = ask(chain, lineage, input, known)
      const frame = new TextDecoder().decode(toFrame(body, planned))
      results.push({ turn, policy: chain.policy, plan: planned, input, frame })
    }
    const checkpoint = checkpointOf(
      lineage,
      `resp_${turn}`,
      answer.map((item) => write(item)),
      digester,
    )
    if (checkpoint.input !== undefined) heads.record(1, "line", read, checkpoint.input)
    for (const chain of chains) {
      chain.checkpoint = checkpoint
      chain.context = [...chain.context, ...answer]
    }
    for (const item of answer) known.set(String(item["id"]), item)
  }
  return results
}
