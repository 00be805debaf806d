import { assert, describe, it } from "@effect/vitest"
import { Binding } from "../../../src/turn/attempt/Binding.ts"
import { EndedTurns } from "../../../src/turn/attempt/EndedTurns.ts"
import { Namings } from "../../../src/turn/attempt/Naming.ts"

const created = (response: string) =>
  `{"type":"response.created","sequence_number":0,"response":{"id":"${response}","status":"in_progress","output":[]}}`
const added = (item: string, index: number) =>
  `{"type":"response.output_item.added","sequence_number":1,"output_index":${index},"item":{"id":"${item}","type":"message"}}`
const part = (item: string, index: number) =>
  `{"type":"response.content_part.added","sequence_number":2,"item_id":"${item}","output_index":${index},"content_index":0}`

/** The second turn on a connection, whose first one answered as `resp_1` with the item `msg_1`. */
const second = () => {
  const ended = new EndedTurns()
  const naming = new Namings(() => 0).of("affinity")
  const options = { ended, naming, hasDialect: false }
  const first = new Binding(options)
  first.judge("response.created", created("resp_1"))
  first.judge("response.output_item.added", added("msg_1", 0))
  first.end()
  return new Binding(options)
}

describe("Of a connection's second turn", () => {
  it("the first one's response.created is dropped, and its own one begins it", () => {
    const turn = second()
    assert.strictEqual(turn.judge("response.created", created("resp_1")), "drop")
    const own = second()
    assert.strictEqual(own.judge("response.created", created("resp_2")), "ours")
  })

  it("an item of the first one is foreign, though it stands at an index of the turn's own", () => {
    const turn = second()
    turn.judge("response.created", created("resp_2"))
    assert.strictEqual(turn.judge("response.output_item.added", added("msg_2", 0)), "ours")
    assert.strictEqual(turn.judge("response.content_part.added", part("msg_1", 0)), "foreign")
    assert.strictEqual(turn.judge("response.content_part.added", part("msg_2", 0)), "ours")
  })
})
