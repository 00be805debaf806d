/**
 * The whole proxy at a cap: what conversations get that share too few connections, and what a caller gets beside one
 * that holds them all.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { SettingsValues } from "../../src/config/Settings.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { outputOf, way } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { user } from "../support/Items.ts"
import { TestProxy } from "../support/TestProxy.ts"

/** The next turn of a conversation, whose history it adds to. */
const turn = Effect.fnUntraced(function* (said: Array<JsonObject>, key: string, session?: string) {
  said.push(user(`Turn ${said.length} of ${key} ${session}`))
  const headers: Record<string, string> = session === undefined ? {} : { "session-id": session }
  const answer = yield* post({ store: false, input: [...said] }, { key, headers })
  assert.strictEqual(answer.status, 200, answer.text)
  said.push(...outputOf(answer))
  return way(answer, "transport", "connection", "input").join(" ")
})

const capped = (settings: Partial<SettingsValues>) => TestProxy.layerBrief(settings)

describe("Two conversations in turn under a cap of one connection", () => {
  const cases: ReadonlyArray<
    readonly [name: string, settings: Partial<SettingsValues>, sessions: ReadonlyArray<string>]
  > = [
    ["in all", { maxConnections: 1 }, []],
    ["in all, where turns wait", { maxConnections: 1, busy: "wait" }, []],
    ["in all, for clients that name them", { maxConnections: 1 }, ["one", "two"]],
    ["in all, without HTTP", { maxConnections: 1, transport: "websocket" }, []],
    ["of their scope", { maxConnectionsPerScope: 1 }, ["one", "two"]],
    ["of their session, where turns wait", { maxConnectionsPerSession: 1, busy: "wait" }, ["one", "one"]],
  ]
  for (const [name, settings, sessions] of cases) {
    it.effect(`${name} take one dial`, () =>
      Effect.gen(function* () {
        const said: ReadonlyArray<Array<JsonObject>> = [[], []]
        const ways: Array<string> = []
        for (let at = 0; at < 6; at++) {
          ways.push(yield* turn(said[at % 2] ?? [], "test-key-a", sessions[at % 2]))
        }
        assert.deepStrictEqual(ways, [
          "websocket new full",
          ...Array.from({ length: 5 }, () => "websocket reused full"),
        ])
        assert.strictEqual((yield* Simulator).counters.upgrades, 1)
      }).pipe(Effect.provide(capped(settings))),
    )
  }
})

describe("Beside a caller that holds every connection with small sessions", () => {
  const settings: ReadonlyArray<readonly [name: string, settings: Partial<SettingsValues>]> = [
    ["with HTTP to fall back to", {}],
    ["without", { transport: "websocket" }],
    ["where turns wait", { busy: "wait" }],
  ]
  for (const [name, more] of settings) {
    it.effect(`three others have their conversations on sockets, ${name}`, () =>
      Effect.gen(function* () {
        for (let at = 0; at < 24; at++) yield* turn([], "test-key-greedy", `session ${at}`)
        for (const key of ["test-key-a", "test-key-b", "test-key-c"]) {
          const said: Array<JsonObject> = []
          assert.strictEqual(yield* turn(said, key), "websocket new full")
          yield* turn([], "test-key-greedy", `another ${key}`)
          for (let more = 0; more < 3; more++) assert.strictEqual(yield* turn(said, key), "websocket reused suffix")
        }
        assert.strictEqual((yield* Simulator).counters.openSockets, 16)
      }).pipe(Effect.provide(capped({ maxConnections: 16, ...more }))),
    )
  }
})
