import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import OpenAI from "openai"
import { ResponsesWS } from "openai/resources/responses/ws"
import type { FunctionTool, ResponseInputItem } from "openai/resources/responses/responses"
import type { SimulatorService } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"

const tools: Array<FunctionTool> = [
  {
    type: "function",
    name: "get_weather",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { type: "string" } },
      required: ["city"],
      additionalProperties: false,
    },
  },
]

const clientOf = ({ url }: SimulatorService) => new OpenAI({ baseURL: url, apiKey: "test-key-a", maxRetries: 0 })

const answers = (
  output: ReadonlyArray<{ readonly type: string; readonly call_id?: string | null }>,
): Array<ResponseInputItem> =>
  output.flatMap((item) =>
    item.type === "function_call"
      ? [{ type: "function_call_output", call_id: String(item.call_id), output: "sunny" }]
      : [],
  )

describe("The openai SDK", () => {
  it.effect("runs a tool loop with create and full history", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = clientOf(simulator)
      const input: Array<ResponseInputItem> = [{ role: "user", content: "use 2 steps" }]
      const text = yield* Effect.promise(async () => {
        for (;;) {
          const response = await client.responses.create({ model: "gpt-5.5", tools, input, store: false })
          input.push(...(response.output as Array<ResponseInputItem>))
          const outputs = answers(response.output)
          if (outputs.length === 0) return response.output_text
          input.push(...outputs)
        }
      })
      assert.match(text, /^Done after 2 steps/)
      assert.strictEqual(simulator.counters.executions, 3)
      assert.strictEqual(simulator.counters.editedItems, 0)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("streams, and its own accumulator agrees with the terminal response", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = clientOf(simulator)
      const input: Array<ResponseInputItem> = [{ role: "user", content: "use 1 steps" }]
      for (let turn = 0; turn < 2; turn++) {
        const final = yield* Effect.promise(() =>
          client.responses.stream({ model: "gpt-5.5", tools, input }).finalResponse(),
        )
        assert.strictEqual(final.status, "completed")
        assert.strictEqual(final.id, simulator.turns[turn]?.responseId)
        input.push(...(final.output as Array<ResponseInputItem>), ...answers(final.output))
      }
      assert.strictEqual(simulator.turns[1]?.status, "completed")
      assert.strictEqual(simulator.counters.editedItems, 0)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("sees an error's status and code", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const client = clientOf(simulator)
      const error = yield* Effect.promise(() =>
        client.responses.create({ model: "gpt-5.5", input: "x", previous_response_id: "resp_none" }).then(
          () => undefined,
          (error: unknown) => error,
        ),
      )
      assert(error instanceof OpenAI.APIError)
      assert.deepStrictEqual([error.status, error.code], [400, "previous_response_not_found"])
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("retrieves, lists and deletes what was stored", () =>
    Effect.gen(function* () {
      const client = clientOf(yield* Simulator)
      const id = yield* Effect.promise(async () => {
        const created = await client.responses.create({ model: "gpt-5.5", input: "x" })
        assert.strictEqual((await client.responses.retrieve(created.id)).output_text, created.output_text)
        assert.strictEqual((await client.responses.inputItems.list(created.id)).data.length, 1)
        assert.isAbove((await client.models.list()).data.length, 0)
        await client.responses.delete(created.id)
        return created.id
      })
      const gone = yield* Effect.promise(() =>
        client.responses.retrieve(id).then(
          () => undefined,
          (error: unknown) => error,
        ),
      )
      assert(gone instanceof OpenAI.NotFoundError)
    }).pipe(Effect.provide(Simulator.layer())),
  )

  it.effect("runs a tool loop over its WebSocket with the new items only", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => new ResponsesWS(clientOf(simulator))),
        (socket) => Effect.sync(() => socket.close()),
      )
      const text = yield* Effect.promise(
        () =>
          new Promise<string>((resolve, reject) => {
            socket.on("error", reject)
            socket.on("response.completed", ({ response }) => {
              const input = answers(response.output)
              if (input.length === 0) return resolve(JSON.stringify(response.output))
              socket.send({
                type: "response.create",
                model: "gpt-5.5",
                store: false,
                tools,
                previous_response_id: response.id,
                input,
              })
            })
            socket.send({ type: "response.create", model: "gpt-5.5", store: false, tools, input: "use 2 steps" })
          }),
      )
      assert.include(text, "Done after 2 steps")
      assert.deepInclude(simulator.counters, { executions: 3, websocketTurns: 3, upgrades: 1, refusedTurns: 0 })
    }).pipe(Effect.provide(Simulator.layer())),
  )
})
