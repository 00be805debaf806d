import { assert, describe, it } from "@effect/vitest"
import type { TurnEntry } from "../../../src/observe/live/TurnEntry.ts"
import { factsOf, reasonWords } from "../../../src/observe/live/Words.ts"
import { read } from "../../documents/Pages.ts"

const entry = (changes: Partial<TurnEntry> = {}): TurnEntry => ({
  number: 1,
  at: 10_000,
  request: "req_1",
  turn: "req_1",
  caller: "caller-abc",
  session: undefined,
  model: "gpt-5.5",
  way: {
    upstream: "default",
    transport: "websocket",
    connection: "reused",
    input: "full",
    reason: "members_changed",
    connectionId: 7,
    changed: { members: ["model", "store"] },
    itemsSent: 3,
    items: 3,
    bytesUp: 1234,
    inputBytes: 1000,
  },
  outcome: "completed",
  status: 200,
  upstreamStatus: undefined,
  upstreamCode: undefined,
  usage: undefined,
  attempts: 1,
  leaseMs: 1,
  firstMs: undefined,
  totalMs: 2000,
  saved: 0,
  ...changes,
})

const fact = (about: string, changes?: Partial<TurnEntry>) => new Map(factsOf(entry(changes), 12_400)).get(about)

describe("The words of a reason", () => {
  it("are there for each of the explained reasons, and for no other", () => {
    const table = /^## Reasons\n([^]*?)^##/m.exec(read(`docs/${"operate"}.md`))?.[1] ?? ""
    const explained = [...table.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`(\w+)`/g)].map(([, reason = ""]) => reason),
    )
    assert.isAbove(explained.length, 30)
    assert.sameMembers(Object.keys(reasonWords), explained)
  })
})

describe("The facts of a turn", () => {
  it("say what differs from before", () => {
    const way = entry().way
    if (way === undefined) throw new Error("no way")
    const changed = (changed: NonNullable<typeof way.changed>) => fact("changed", { way: { ...way, changed } })
    assert.strictEqual(fact("changed"), "not as before: model, store")
    assert.strictEqual(
      changed({ item: 3, kind: "user_message" }),
      "input[3] (user_message) is the first item that differs",
    )
    assert.strictEqual(changed({ item: 4, kind: "end" }), "the input ends before input[4], which is remembered")
    assert.strictEqual(changed({ item: 5 }), "input[5] is the first item that differs")
    assert.isUndefined(changed({}))
    assert.isUndefined(fact("changed", { way: undefined }))
  })

  it("leave out what is not known", () => {
    assert.strictEqual(fact("asked by"), "caller abc, model gpt-5.5")
    assert.strictEqual(fact("ended"), "2 s ago, after 2,000 ms")
    assert.strictEqual(fact("times"), "connection had at 1 ms")
    assert.isUndefined(fact("tokens"))
    assert.isUndefined(fact("upstream said"))
    assert.strictEqual(fact("upstream said", { upstreamStatus: 429, upstreamCode: "slow" }), "status 429, code slow")
    assert.strictEqual(fact("travelled", { way: undefined }), "not at all: no attempt was made")
    assert.strictEqual(fact("outcome", { outcome: "cancelled", status: undefined }), "cancelled, the client had left")
    assert.strictEqual(fact("request", { turn: "req_2" }), "req_1 (turn req_2)")
  })
})
