/**
 * Tenants of one account on sockets of their own: no id of another, and nothing of the account's credential.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { errorIn, keyed, outputOf, socket } from "../../support/SocketClient.ts"
import { everyKind, makeTenancy, startProxy, upstreamKey } from "../../support/Tenancy.ts"
import type { Event } from "../../support/TestClient.ts"
import { idOf } from "../../support/TestClient.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const tenants = Effect.gen(function* () {
  const tenancy = yield* makeTenancy
  const { url } = yield* Simulator
  const proxy = yield* startProxy(tenancy, url)
  const opened = (key: string) => socket(keyed(key)).pipe(Effect.provideService(TestProxy, proxy))
  return { proxy, one: yield* opened(tenancy.a.secret), other: yield* opened(tenancy.b.secret) }
})

const layer = Simulator.layer({ script: everyKind, apiKeys: [upstreamKey] })

describe("Tenants on sockets", () => {
  it.effect("continue their own responses, and none of another's, by whichever id of it", () =>
    Effect.gen(function* () {
      const { one, other } = yield* tenants
      const begun = yield* one.turn({ input: "Begin." })
      assert.strictEqual(begun.type, "response.completed", JSON.stringify(begun))
      const simulator = yield* Simulator
      const asked = simulator.turns.length
      const items = outputOf(begun)
      const uses: ReadonlyArray<JsonObject> = [
        { previous_response_id: idOf(begun), input: "x" },
        { previous_response_id: idOf(begun), input: "x", store: false },
        { previous_response_id: idOf(begun), input: "x", stream_id: "a" },
        { previous_response_id: idOf(begun), input: "x", generate: false },
        ...items.map((item): JsonObject => ({
          input: [
            { type: "item_reference", id: item["id"] ?? null },
            { role: "user", content: "x" },
          ],
        })),
      ]
      for (const use of uses) {
        const refused = yield* other.turn(use)
        const [status] = errorIn(refused)
        assert.isTrue(status === 400 || status === 404, JSON.stringify(refused))
      }
      assert.strictEqual(simulator.turns.length, asked, "what reached the upstream")
      yield* other.send(JSON.stringify({ type: "response.steer", previous_response_id: idOf(begun), input: "x" }))
      assert.strictEqual((yield* other.next).type, "error")
      const call = items.find(({ type }) => type === "function_call")
      const next = yield* one.turn({
        previous_response_id: idOf(begun),
        input: [{ type: "function_call_output", call_id: call?.["call_id"] ?? null, output: "found" }],
      })
      assert.strictEqual(next.type, "response.completed", JSON.stringify(next))
    }).pipe(Effect.scoped, Effect.provide(layer)),
  )

  it.effect("read nothing of the account's key, whatever repeats it", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const { one, proxy } = yield* tenants
      const told: Array<Event> = []
      for (const fault of [
        { _tag: "Refuse", status: 400, code: "bad", message: `Not with ${upstreamKey}.` },
        { _tag: "Error", at: 5, status: 500, code: "server_error", message: `Broke for ${upstreamKey}.` },
        { _tag: "Error", at: 5, status: 500, code: "server_error", message: `Broke for ${upstreamKey}.`, flat: true },
        { _tag: "Failed", at: 5, code: "server_error", message: `Broke for ${upstreamKey}.` },
        { _tag: "ExtraFrame", at: 4, text: `{"type":"response.output_text.delta","delta":"${upstreamKey}"}` },
      ] as const) {
        yield* simulator.failNext(fault)
        yield* one.send({ input: "Begin.", stream_id: "a" })
        told.push(...(yield* one.answer))
      }
      assert.include(JSON.stringify(told), "[redacted]")
      assert.notInclude(JSON.stringify(told), upstreamKey)
      assert.notInclude(proxy.logged.join("\n"), upstreamKey)
    }).pipe(Effect.scoped, Effect.provide(layer)),
  )
})
