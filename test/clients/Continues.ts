/**
 * A client's conversation through the proxy, judged by the simulator's own records and by the same conversation straight
 * against another simulator.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { typeOf, unitsOf } from "../../src/simulator/context/Compare.ts"
import type { Json, JsonObject } from "../../src/simulator/JsonText.ts"
import type { Script, SimulatorOptions, TurnRecord } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { assertOwnAnchors, overhear } from "../support/Overheard.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { places, turnCount } from "./Script.ts"
import { idsByOrder } from "../support/IdsByOrder.ts"

/** Holds the conversation with the upstream at that address and gives all that the client was told. */
export type Converse = (baseURL: string) => Promise<unknown>

const ids = /\b(?:(resp|msg|rs|fc|ctc|ws)_[0-9a-f]{50}|(call)_[0-9a-z]{24}|(gAAAAAB)[0-9a-z]+==)/g
const changing = new Set([
  "previous_response_id",
  "requestId",
  "created_at",
  "completed_at",
  "performance",
  "usage",
  "totalUsage",
  "usage_metadata",
  "tokenUsage",
  "estimatedTokenUsage",
  "headers",
])

/** The value with the upstream's ids by their order of appearance, and without other ids, times, usage and headers. */
const named = (value: unknown, steady = (text: string) => text): unknown => {
  const text = JSON.stringify(value, (name, member: unknown) => (changing.has(name) ? undefined : member))
  return JSON.parse(
    idsByOrder(steady(text), ids, (...kinds) => String(kinds.slice(0, 3).find((kind) => kind !== undefined))),
  )
}

const itemsOf = (texts: ReadonlyArray<string>) => texts.map((text) => JSON.parse(text) as JsonObject)

const thoughtIn = (item: JsonObject): ReadonlyArray<Json> =>
  typeOf(item) === "reasoning" ? [item.encrypted_content ?? item.summary ?? null] : []

/** What was said before each turn, whatever form it had. */
const said = (turns: ReadonlyArray<TurnRecord>) => turns.map(({ context }) => itemsOf(context).flatMap(unitsOf))

/** The reasoning that the model saw of itself at each turn. */
const thoughts = (turns: ReadonlyArray<TurnRecord>) => turns.map(({ context }) => itemsOf(context).flatMap(thoughtIn))

/** Items that only the model writes; a client that sends one sends what the upstream already has. */
const isOfTheModel = (item: JsonObject): boolean =>
  item.role === "assistant" || /^(item_reference|reasoning|.*_call)$/.test(typeOf(item))

/** Asserts that each turn but the first was sent as the last id and only what is new, all on one connection. */
const assertContinued = (turns: ReadonlyArray<TurnRecord>, before?: string) => {
  for (const [index, { connection, request, status }] of turns.entries()) {
    const which = `turn ${index}`
    assert.strictEqual(status, "completed", which)
    assert.strictEqual(connection, 0, which)
    assert.strictEqual(request?.["type"], "response.create", which)
    assert.strictEqual(request?.["previous_response_id"], turns[index - 1]?.responseId ?? before, which)
    const input: Json = request?.["input"] ?? []
    const sent = (Array.isArray(input) ? input : []) as ReadonlyArray<JsonObject>
    assert.deepStrictEqual(sent.filter(isOfTheModel), [], which)
  }
}

type Profile = NonNullable<SimulatorOptions["profile"]>

export interface Expected {
  readonly script?: Script
  /** The upstream, if it is another than OpenAI's. */
  readonly upstream?: Pick<SimulatorOptions, "accepts" | "deployments" | "models"> & { readonly profile: Profile }
  /** `left out`: the client sends none back, so that only the continued chain has it. Default `sent back`. */
  readonly reasoning?: "sent back" | "left out"
  /** How to hold the conversation without the proxy, where that takes another way. */
  readonly straight?: Converse
  /** Takes out of a JSON text what is another whenever the client runs. */
  readonly steady?: (text: string) => string
}

/** The conversation straight against a simulator of its own. */
const alone = (converse: Converse, script: Script, upstream?: Expected["upstream"]) =>
  Effect.gen(function* () {
    const { counters, turns, url } = yield* Simulator
    const answers = yield* Effect.promise(() => converse(url))
    assert.strictEqual(counters.httpTurns, turnCount)
    assert.strictEqual(counters.executions, turnCount)
    return { answers, turns }
  }).pipe(Effect.provide(Simulator.layer({ script, ...upstream })))

/**
 * Asserts that a conversation through the proxy takes one upgrade, that every later turn continues and none is refused,
 * that the model sees at each turn what it sees without the proxy, and that the client is told the same, with the
 * `previous_response_id` of its own request.
 */
export const continues = (
  converse: Converse,
  { reasoning = "sent back", script = places, steady, straight = converse, upstream }: Expected = {},
) =>
  Effect.gen(function* () {
    const proxy = yield* TestProxy
    const { counters, turns } = yield* Simulator
    const overheard = yield* overhear(proxy.url)
    const answers = yield* Effect.promise(() => converse(overheard.url))
    assertContinued(turns)
    assert.strictEqual(overheard.exchanges.length, turnCount)
    assertOwnAnchors(overheard.exchanges)
    assert.strictEqual(counters.upgrades, 1)
    assert.strictEqual(counters.websocketTurns, turnCount)
    assert.strictEqual(counters.executions, turnCount)
    assert.strictEqual(counters.httpTurns, 0)
    assert.strictEqual(counters.refusedTurns, 0)
    assert.strictEqual(counters.editedItems, 0)
    assert.strictEqual(proxy.logged.filter((line) => line.includes("input=suffix")).length, turnCount - 1)

    const plain = yield* alone(straight, script, upstream)
    const same = (one: unknown, other: unknown) => assert.deepStrictEqual(named(one, steady), named(other, steady))
    same(said(turns), said(plain.turns))
    same(thoughts(plain.turns), reasoning === "sent back" ? thoughts(turns) : turns.map(() => []))
    // Each turn of the scripts thinks once.
    assert.deepStrictEqual(
      thoughts(turns).map(({ length }) => length),
      [...turns.keys()],
    )
    same(answers, plain.answers)
  }).pipe(
    Effect.provide(
      TestProxy.layer({ settings: { profile: upstream?.profile ?? "openai" }, simulator: { script, ...upstream } }),
    ),
  )

/** A conversation straight against a simulator, whose turns come on sockets. */
const aloneOnSocket = (converse: Converse, script: Script) =>
  Effect.gen(function* () {
    const { counters, turns, url } = yield* Simulator
    const answers = yield* Effect.promise(() => converse(url))
    assert.strictEqual(counters.httpTurns, 0)
    return { answers, turns: turns.filter(({ generate }) => generate) }
  }).pipe(Effect.provide(Simulator.layer({ script })))

export interface OnSocket extends Expected {
  /** How many conversations there are beside each other, each on a lane. Default 1. */
  readonly lanes?: number
}

/**
 * Asserts that a conversation on a client's own socket takes one upgrade of the upstream for each lane, that every later
 * turn continues, that the model sees what it sees without the proxy, and that the client is told the same.
 */
export const continuesOnSocket = (converse: Converse, { lanes = 1, script = places, steady }: OnSocket = {}) =>
  Effect.gen(function* () {
    const proxy = yield* TestProxy
    const { counters, turns } = yield* Simulator
    const answers = yield* Effect.promise(() => converse(proxy.url))
    const asked = turns.filter(({ generate }) => generate)
    for (const { request, status } of asked) {
      assert.strictEqual(status, "completed")
      assert.notProperty(request, "stream_id")
    }
    assert.deepStrictEqual(
      [counters.upgrades, counters.executions, counters.httpTurns, counters.refusedTurns, counters.editedItems],
      [lanes, lanes * turnCount, 0, 0, 0],
    )
    const ways = proxy.logged.flatMap((line) => /input=(\w+)/.exec(line)?.[1] ?? [])
    assert.strictEqual(ways.filter((way) => way === "full").length, lanes)
    if (lanes === 1) assertContinued(asked.slice(1), asked[0]?.responseId)
    const plain = yield* aloneOnSocket(converse, script)
    const same = (one: unknown, other: unknown) => assert.deepStrictEqual(named(one, steady), named(other, steady))
    if (lanes === 1) {
      same(said(asked), said(plain.turns))
      same(thoughts(asked), thoughts(plain.turns))
    }
    same(answers, plain.answers)
  }).pipe(Effect.provide(TestProxy.layer({ simulator: { script } })))

/** Asserts that the client is told the same where the upstream takes no sockets. */
export const fallsBack = (converse: Converse) =>
  Effect.gen(function* () {
    const proxy = yield* TestProxy
    const { counters } = yield* Simulator
    const answers = yield* Effect.promise(() => converse(proxy.url))
    assert.strictEqual(counters.httpTurns, turnCount)
    assert.strictEqual(counters.websocketTurns, 0)
    const plain = yield* alone(converse, places)
    assert.deepStrictEqual(named(answers), named(plain.answers))
  }).pipe(Effect.provide(TestProxy.layer({ simulator: { script: places, websocket: "off", websocketOffStatus: 404 } })))
