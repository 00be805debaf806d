import { assert, describe, it } from "@effect/vitest"
import { Horizon } from "../../../src/turn/attempt/Horizon.ts"
import { RecordedTurn } from "../../support/RecordedTurn.ts"

const route = {
  upstream: "default",
  transport: "websocket",
  connection: "reused",
  input: "full",
  reason: "members_changed",
  changed: { members: ["model"] },
  connectionId: 1,
  itemsSent: 1,
  items: 1,
  bytesUp: 1,
  inputBytes: 1,
} as const

describe("the route of an attempt", () => {
  it("has the reason of the retry, and no detail of another reason", () => {
    const sink = new RecordedTurn()
    const horizon = new Horizon(sink)
    horizon.route(route)
    horizon.restart("socket_lost_before_send")
    horizon.route(route)
    assert.deepStrictEqual(sink.routes, [route, { ...route, reason: "socket_lost_before_send", changed: undefined }])
    // What follows from its failure depends on how it was planned.
    assert.strictEqual(horizon.attempt?.reason, "members_changed")
  })
})
