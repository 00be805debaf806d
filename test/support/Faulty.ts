/**
 * A conversation in which something breaks, judged by the same conversation in which nothing does.
 */
import { assert } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Option } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { isArray, isObject } from "../../src/simulator/JsonText.ts"
import type { ArrivalFault, Fault, Script } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import { eventsOf } from "./Events.ts"
import { user } from "./Items.ts"
import { request } from "./Ask.ts"
import { TestProxy } from "./TestProxy.ts"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import { objectIn } from "./Parsed.ts"
import { eventually, round, unlessItHangs } from "./EventLoop.ts"
import { idsByOrder } from "./IdsByOrder.ts"

export type AnyFault = Fault | ArrivalFault

const shortly = (item: JsonObject): string =>
  item.type === "reasoning" ? "r" : item.role === "assistant" ? "a" : String(item.content)

/** Says what it was shown, in fifteen frames and the terminal one: 0 and 1 are lifecycle, content begins at 2. */
export const script: Script = ({ context }) => ({
  output: [
    { _tag: "Reasoning", summary: ["Think."] },
    { _tag: "Message", text: `Saw ${context.map(shortly).join("+")}` },
  ],
})
export const firstContent = 2
export const terminal = 15
export const afterTerminal = 16

/** What a client got: a status, and an object of JSON or the events of a stream. */
export interface Got {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface Asking {
  readonly url: string
  readonly stream: boolean
  /** The user's messages and the model's items between them. */
  readonly input: ReadonlyArray<JsonObject>
  readonly session: string
  readonly more?: JsonObject
  readonly query?: string
  /** Sees a stream's text as it grows. */
  readonly seen?: (text: string) => void
}

/** The proxy in front of a model with that script. */
export const proxied = (settings: SettingsOptions = {}) => TestProxy.layer({ settings, simulator: { script } })

export const ask = ({ input, more, query = "", seen, session, stream, url }: Asking) =>
  Effect.promise(async (signal): Promise<Got> => {
    const body = { model: "gpt-5.5", stream, input: [...input], ...more }
    const asked = { key: "test-key-a", headers: { "session-id": session }, body }
    const response = await request(`${url}/responses${query}`, asked, signal)
    const decoder = new TextDecoder()
    let text = ""
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true })
      seen?.(text)
    }
    return { status: response.status, headers: response.headers, text }
  })

const ids = /\b(?:(resp|msg|rs)_[0-9a-f]{50}|(gAAAAAB)[0-9a-z=]+)/g
const changing = new Set(["previous_response_id", "created_at", "completed_at", "usage"])

/** The same for two runs of one conversation: ids by their order, no times, no usage. */
const steady = (values: ReadonlyArray<JsonObject>): string => {
  const text = JSON.stringify(values, (name, member: unknown) => (changing.has(name) ? undefined : member))
  return idsByOrder(text, ids)
}

const parsed = (text: string): JsonObject => {
  const object = objectIn(text)
  if (object === undefined) throw new Error(`no object: ${text}`)
  return object
}

/** The events of a stream, or the one object of JSON. */
export const saidIn = ({ text }: Got, stream: boolean): ReadonlyArray<JsonObject> =>
  stream ? eventsOf(text).map(({ data }) => parsed(data)) : [parsed(text)]

const outputIn = (said: ReadonlyArray<JsonObject>): ReadonlyArray<JsonObject> => {
  const output = responseOf(said.at(-1))["output"] ?? null
  return isArray(output) ? output.filter(isObject) : []
}

export const questions = ["One", "Two", "Three"] as const

/** The next input of a conversation: what was sent, what came, and another question. */
export const extended = (input: ReadonlyArray<JsonObject>, got: Got, stream: boolean, question: string) => [
  ...input,
  ...outputIn(saidIn(got, stream)),
  user(question),
]

/** What each turn says where nothing breaks, straight from a simulator of its own. */
const referred = Effect.fnUntraced(
  function* (stream: boolean) {
    const { url } = yield* Simulator
    const turns: Array<ReadonlyArray<JsonObject>> = []
    let input: ReadonlyArray<JsonObject> = [user(questions[0])]
    for (const [index] of questions.entries()) {
      const got = yield* ask({ url, stream, input, session: "reference" })
      turns.push(saidIn(got, stream))
      input = extended(input, got, stream, questions[index + 1] ?? "")
    }
    return turns
  },
  Effect.provide(Layer.fresh(Simulator.layer({ script }))),
)

const referredOnce = new Map<boolean, ReadonlyArray<ReadonlyArray<JsonObject>>>()

/** The same for every test, so it is asked for once. */
export const reference = Effect.fnUntraced(function* (stream: boolean) {
  const turns = referredOnce.get(stream) ?? (yield* referred(stream))
  referredOnce.set(stream, turns)
  return turns
})

/** How a turn ended for its client. */
export type Ending = "answer" | "error" | "failed" | "incomplete"

/** The code of an error, as JSON or as an event. */
export const codeIn = ({ text }: Got) => /"code":"([a-z_]+)"/.exec(text)?.[1]

const numberOf = (event: JsonObject | undefined) => event?.["sequence_number"]

const isError = (value: JsonObject): boolean => {
  const error = isObject(value["error"] ?? null) ? (value["error"] as JsonObject) : value
  return typeof error["message"] === "string" && error["code"] !== undefined
}

/**
 * Asserts that this is the whole right answer once, or one clear error behind a faultless beginning, and says which.
 * Events of types that nobody knows are let through where they came.
 */
export const endingOf = (got: Got, stream: boolean, right: ReadonlyArray<JsonObject>): Ending => {
  if (got.status >= 400) {
    assert.match(got.headers.get("content-type") ?? "", /^application\/json\b/)
    const error = parsed(got.text)["error"]
    assert.isTrue(isObject(error ?? null) && isError(error as JsonObject), got.text)
    return "error"
  }
  assert.strictEqual(got.status, 200)
  const said = saidIn(got, stream)
  if (!stream) {
    const status = said[0]?.["status"]
    if (status === "failed" || status === "incomplete") return status
    assertSame(said, right)
    return "answer"
  }
  for (const [index, event] of said.entries()) {
    if (event.type !== "error") assert.strictEqual(numberOf(event), index, `sequence_number of event ${index}`)
  }
  const known = said.filter(({ type }) => type !== "response.future_thing.delta")
  const type = known.at(-1)?.type
  const whole = type === "response.completed"
  const before = whole ? known : known.slice(0, -1)
  const numbered =
    known.length === said.length ? before : before.map((event, at) => ({ ...event, sequence_number: at }))
  assertSame(numbered, right.slice(0, before.length))
  if (whole) {
    assert.strictEqual(known.length, right.length)
    return "answer"
  }
  if (type === "response.failed" || type === "response.incomplete")
    return type === "response.failed" ? "failed" : "incomplete"
  assert.strictEqual(type, "error", got.text)
  const last = said.at(-1)
  assert.isTrue(last !== undefined && isError(last), got.text)
  const number = numberOf(last)
  if (number !== undefined) assert.strictEqual(number, said.length - 1, "sequence_number of the error")
  return "error"
}

const responseOf = (value: JsonObject | undefined): JsonObject => {
  const response = value?.["response"] ?? value ?? {}
  return isObject(response) ? response : {}
}

const withoutLastId = (said: ReadonlyArray<JsonObject>): ReadonlyArray<JsonObject> =>
  said.map((value, index) => {
    if (index < said.length - 1) return value
    const { id: _, ...response } = responseOf(value)
    return value["response"] === undefined ? response : { ...value, response }
  })

/** An upstream that leaves the id out of its last event is taken at its word. */
const assertSame = (said: ReadonlyArray<JsonObject>, right: ReadonlyArray<JsonObject>) => {
  const { id, object } = responseOf(said.at(-1))
  const asIs = object !== "response" || id !== undefined
  assert.strictEqual(steady(asIs ? said : withoutLastId(said)), steady(asIs ? right : withoutLastId(right)))
}

/**
 * Waits for a turn that only time can end, by moving the clock from `begun` on: a second with every so many looks, in which
 * what is under way on a socket arrives, and one request of another kind. Requests are made by a thread of the platform's
 * own, which a busy machine may keep waiting while this one looks: once it has answered, it has had its turn.
 */
export const driven = Effect.fnUntraced(function* <A, R>(
  effect: Effect.Effect<A, never, R>,
  begun: Effect.Effect<void>,
) {
  const proxy = yield* Effect.serviceOption(TestProxy)
  const probe = Option.match(proxy, {
    onNone: () => Effect.void,
    onSome: ({ url }) => Effect.promise(async () => void (await (await fetch(new URL("/healthz", url))).text())),
  })
  const fiber = yield* Effect.forkChild(effect)
  yield* begun
  while (fiber.pollUnsafe() === undefined) {
    yield* probe
    yield* TestClock.adjust("1 second")
    for (let look = 0; look < 100; look++) yield* round
  }
  return yield* Fiber.join(fiber)
})

/** Waits until no connection is in use and both sides count the same, or says what there is instead. */
export const settled = Effect.fnUntraced(function* () {
  const pool = yield* ConnectionPool
  const { counters } = yield* Simulator
  const states = () => pool.connections().map(({ state }) => state)
  const isSettled = () => states().every((state) => state === "Idle") && counters.openSockets === states().length
  yield* eventually(isSettled, () => `connections are ${states().join()}, ${counters.openSockets} sockets are open`)
})

/** Runs a cell; its failure or its hanging names it. */
export const cell = <R>(name: string, effect: Effect.Effect<void, never, R>) =>
  unlessItHangs(effect).pipe(
    Effect.exit,
    Effect.flatMap((exit) =>
      Exit.isSuccess(exit) ? Effect.void : Effect.die(new Error(`${name}: ${Cause.pretty(exit.cause)}`)),
    ),
  )
