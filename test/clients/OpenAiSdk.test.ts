import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { OpenAI } from "openai"
import type { Json } from "../../src/simulator/JsonText.ts"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../TestProxy.ts"

type Input = OpenAI.Responses.ResponseInputItem
type Output = OpenAI.Responses.ResponseOutputItem

const tools: Array<OpenAI.Responses.FunctionTool> = [
  {
    type: "function",
    name: "look_up",
    parameters: { type: "object", properties: { place: { type: "string" } }, required: ["place"] },
    strict: false,
  },
]

const create = async (client: OpenAI, stream: boolean, input: Array<Input>): Promise<ReadonlyArray<Output>> => {
  const request = { model: "gpt-5.5", tools, input, instructions: "Be brief." }
  if (!stream) return (await client.responses.create(request)).output
  let output: ReadonlyArray<Output> = []
  for await (const event of await client.responses.create({ ...request, stream: true })) {
    if (event.type === "response.completed") output = event.response.output
  }
  return output
}

/** A tool loop of four turns; gives the output of each. */
const toolLoop = (client: OpenAI, stream: boolean) =>
  Effect.promise(async () => {
    const input: Array<Input> = [{ role: "user", content: "use 3 steps" }]
    const outputs: Array<ReadonlyArray<Output>> = []
    for (let turn = 0; turn < 4; turn++) {
      const output = await create(client, stream, input)
      outputs.push(output)
      input.push(...(output as Array<Input>))
      for (const item of output) {
        if (item.type !== "function_call") continue
        input.push({ type: "function_call_output", call_id: item.call_id, output: `found ${item.call_id.length}` })
      }
    }
    return outputs
  })

/** What an answer says, without the ids that every upstream makes anew. */
const said = (outputs: ReadonlyArray<ReadonlyArray<Output>>) =>
  outputs.map((output) =>
    output.map((item) => {
      switch (item.type) {
        case "message":
          return item.content
        case "function_call":
          return [item.name, item.arguments]
        case "reasoning":
          return item.summary
        default:
          return item.type
      }
    }),
  )

const proxied = TestProxy.layer({ simulator: { script: agent({}) } })

describe("the openai SDK in a tool loop of four turns", () => {
  for (const stream of [false, true]) {
    const how = stream ? "with stream: true" : "without streaming"

    it.effect(`runs on one connection, each later turn with the last id and only the new items, ${how}`, () =>
      Effect.gen(function* () {
        const proxy = yield* TestProxy
        const simulator = yield* Simulator
        const outputs = yield* toolLoop(proxy.client(), stream)
        assert.strictEqual(simulator.counters.upgrades, 1)
        assert.strictEqual(simulator.counters.httpTurns, 0)
        assert.strictEqual(simulator.turns.length, 4)
        for (const [index, turn] of simulator.turns.entries()) {
          const before = simulator.turns[index - 1]
          const request: { readonly [name: string]: Json } = turn.request ?? {}
          assert.strictEqual(request["type"], "response.create")
          if (before === undefined) {
            assert.isFalse("previous_response_id" in request)
            assert.strictEqual(turn.newItems, 1)
            continue
          }
          assert.strictEqual(request["previous_response_id"], before.responseId)
          const calls = outputs[index - 1]?.filter(({ type }) => type === "function_call").length
          assert.strictEqual(turn.newItems, calls)
          assert.deepStrictEqual(turn.context.slice(0, -turn.newItems), [...before.context, ...before.output])
        }
        assert.strictEqual(outputs[3]?.at(-1)?.type, "message")
      }).pipe(Effect.provide(proxied)),
    )

    it.effect(`gets the same answers over HTTP when the upstream has no WebSocket, ${how}`, () =>
      Effect.gen(function* () {
        const proxy = yield* TestProxy
        const simulator = yield* Simulator
        const pooled = yield* toolLoop(proxy.client({ session: "one" }), stream)
        yield* simulator.disconnect()
        yield* simulator.configure({ websocket: "off", websocketOffStatus: 404 })
        yield* simulator.reset
        const over = yield* toolLoop(proxy.client({ session: "two" }), stream)
        assert.strictEqual(simulator.counters.httpTurns, 4)
        assert.strictEqual(simulator.counters.websocketTurns, 0)
        const straight = yield* toolLoop(proxy.client({ baseURL: simulator.url }), stream)
        assert.deepStrictEqual(said(over), said(straight))
        assert.deepStrictEqual(said(over), said(pooled))
      }).pipe(Effect.provide(proxied)),
    )
  }
})
