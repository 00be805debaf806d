import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { AnyFault } from "../support/Faulty.ts"
import { ask, endingOf, extended, proxied, reference, saidIn, settled } from "../support/Faulty.ts"
import { user } from "../support/Items.ts"
import { way } from "../support/Ask.ts"

/** One turn, or the second of two, and what the design's table says of it. */
interface Example {
  readonly what: string
  /** Of each attempt of the turn, in their order. */
  readonly faults: ReadonlyArray<ReadonlyArray<AnyFault>>
  readonly settings?: Partial<SettingsValues>
  /** How the turn continues one before it: by its history, or by the client's own id with that `store`. */
  readonly continues?: "history" | "stored id" | "id without store"
  readonly conversation?: JsonObject | string | null
  readonly status: number
  /** `x-respool-transport`, `-input` and `-reason`. */
  readonly way: readonly [transport: string, input: string, reason: string]
  /** Upgrades and runs, those of the turn before included. */
  readonly upgrades: number
  readonly runs: number
  /** The log line's status. */
  readonly ended: string
  /** Whether the client must not try again. */
  readonly final?: boolean
}

const close = (at: number, code = 1011): AnyFault => ({ _tag: "Close", at, code })
const unread = (code?: number): AnyFault => ({ _tag: "Unread", ...(code === undefined ? {} : { code }) })
const limit: AnyFault = { _tag: "ConnectionLimit" }
const forget: AnyFault = { _tag: "Forget", stored: true }
const refuse = (status: number): AnyFault => ({ _tag: "Refuse", status, code: "refused", message: "Refused." })
const strict = { retry: "strict" } as const

const again = (reason: string) => ({ status: 200, way: ["websocket", "full", reason], ended: "completed" }) as const
const lost = { status: 502, ended: "upstream_closed", final: true } as const

const examples: ReadonlyArray<Example> = [
  { what: "a close before the answer", faults: [[close(2)]], ...again("upstream_closed"), upgrades: 2, runs: 2 },
  { what: "a reset", faults: [[{ _tag: "Reset", at: 0 }]], ...again("upstream_closed"), upgrades: 2, runs: 2 },
  { what: "a request that was not read", faults: [[unread()]], ...again("upstream_closed"), upgrades: 2, runs: 1 },
  {
    what: "a close under a suffix, which goes in full",
    faults: [[close(1)]],
    continues: "history",
    ...again("upstream_closed"),
    upgrades: 2,
    runs: 3,
  },
  {
    what: "a stale pooled socket",
    faults: [[unread(1001)]],
    continues: "history",
    ...again("upstream_closed"),
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a close with strict retries",
    faults: [[close(0)]],
    settings: strict,
    ...lost,
    way: ["websocket", "full", "no_checkpoint"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "a second close",
    faults: [[close(0)], [close(1)]],
    ...lost,
    way: ["websocket", "full", "upstream_closed"],
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a suffix whose response is forgotten",
    faults: [[forget]],
    continues: "history",
    ...again("suffix_refused"),
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a suffix that is refused for something else, strict or not",
    faults: [[refuse(422)]],
    settings: strict,
    continues: "history",
    ...again("suffix_refused"),
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a suffix that meets a rate limit",
    faults: [[refuse(429)]],
    continues: "history",
    status: 429,
    ended: "upstream_error",
    way: ["websocket", "suffix", "continued"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "a full input that is refused",
    faults: [[refuse(400)]],
    status: 400,
    ended: "upstream_error",
    way: ["websocket", "full", "no_checkpoint"],
    upgrades: 1,
    runs: 0,
  },
  {
    what: "a refusal of the full input too",
    faults: [[refuse(400)], [refuse(400)]],
    continues: "history",
    status: 400,
    ended: "upstream_error",
    way: ["websocket", "full", "suffix_refused"],
    upgrades: 2,
    runs: 1,
  },
  {
    what: "a connection at its limit, strict or not",
    faults: [[limit]],
    settings: strict,
    ...again("connection_limit"),
    upgrades: 2,
    runs: 1,
  },
  {
    what: "a second connection at its limit",
    faults: [[limit], [limit]],
    continues: "history",
    status: 400,
    ended: "upstream_error",
    way: ["websocket", "full", "connection_limit"],
    upgrades: 2,
    runs: 1,
  },
  {
    what: "one failure of each kind",
    faults: [[forget], [limit], [close(2)]],
    continues: "history",
    ...again("upstream_closed"),
    upgrades: 4,
    runs: 3,
  },
  {
    what: "one of each kind and then one more",
    faults: [[forget], [close(2)], [limit], [close(2)]],
    continues: "history",
    ...lost,
    way: ["websocket", "full", "connection_limit"],
    upgrades: 4,
    runs: 3,
  },
  {
    what: "a message too big for the upstream, strict or not",
    faults: [[unread(1009)]],
    settings: strict,
    status: 200,
    ended: "completed",
    way: ["http", "full", "message_too_big"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "a close 1009 once the answer has begun to come",
    faults: [[close(1, 1009)]],
    ...again("upstream_closed"),
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a close under the client's own id of a stored response, with that id",
    faults: [[close(0)]],
    continues: "stored id",
    ...again("upstream_closed"),
    upgrades: 2,
    runs: 3,
  },
  {
    what: "a limit under the client's own id of a stored response, with that id",
    faults: [[limit]],
    continues: "stored id",
    ...again("connection_limit"),
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a close under the client's own id of a response that only the connection had",
    faults: [[close(0)]],
    continues: "id without store",
    ...lost,
    way: ["websocket", "suffix", "client_chain"],
    upgrades: 1,
    runs: 2,
  },
  {
    what: "a close under a conversation, which a second run would change again",
    faults: [[close(0)]],
    conversation: "conv_1",
    ...lost,
    way: ["websocket", "full", "conversation_bound"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "the same where the conversation is an object",
    faults: [[close(2)]],
    conversation: { id: "conv_1" },
    ...lost,
    way: ["websocket", "full", "conversation_bound"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "a close under a conversation of null, which is none",
    faults: [[close(2)]],
    conversation: null,
    ...again("upstream_closed"),
    upgrades: 2,
    runs: 2,
  },
  {
    what: "a limit under a conversation, where nothing ran",
    faults: [[limit]],
    conversation: "conv_1",
    ...again("connection_limit"),
    upgrades: 2,
    runs: 1,
  },
  {
    what: "a limit under the client's own id of a response that only the connection had",
    faults: [[limit]],
    continues: "id without store",
    status: 400,
    ended: "upstream_error",
    way: ["websocket", "suffix", "client_chain"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "a client's own id that is forgotten",
    faults: [[forget]],
    continues: "stored id",
    status: 400,
    ended: "upstream_error",
    way: ["websocket", "suffix", "client_chain"],
    upgrades: 1,
    runs: 1,
  },
  {
    what: "a rate limit after an attempt that may have run, which no client may repeat",
    faults: [[close(0)], [refuse(429)]],
    status: 429,
    ended: "upstream_error",
    way: ["websocket", "full", "upstream_closed"],
    upgrades: 2,
    runs: 1,
    final: true,
  },
]

for (const stream of [true, false]) {
  describe(`A turn survives or reports, ${stream ? "streaming" : "not streaming"}:`, () => {
    for (const example of examples) {
      it.effect(example.what, () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator
          const { logged, url } = yield* TestProxy
          const right = yield* reference(stream)
          const store = example.continues === "id without store" ? { store: false } : {}
          let input: ReadonlyArray<JsonObject> = [user("One")]
          let more: JsonObject = example.conversation === undefined ? store : { conversation: example.conversation }
          if (example.continues !== undefined) {
            const begun = yield* ask({ url, stream, session: "s", input, more })
            const last = saidIn(begun, stream).at(-1)
            const response = (last?.["response"] ?? last) as JsonObject
            if (example.continues === "history") input = extended(input, begun, stream, "Two")
            else {
              input = [user("Two")]
              more = { ...store, previous_response_id: String(response["id"]) }
            }
          }
          for (const faults of example.faults) yield* simulator.failNext(...faults)
          const got = yield* ask({ url, stream, session: "s", input, more })
          assert.strictEqual(got.status, example.status, got.text)
          assert.deepStrictEqual(way(got, "transport", "input", "reason"), [...example.way])
          const { counters } = simulator
          assert.deepStrictEqual([counters.upgrades, counters.executions], [example.upgrades, example.runs])
          assert.strictEqual(counters.httpTurns, example.way[0] === "http" ? 1 : 0)
          const line = logged.findLast((logged) => logged.includes("message=turn")) ?? ""
          assert.match(line, new RegExp(` reason=${example.way[2]} `), line)
          assert.match(line, new RegExp(` outcome=${example.ended} `), line)
          assert.strictEqual(got.headers.get("x-should-retry"), example.final === true ? "false" : null)
          if (example.status === 200) {
            const expected = right[example.continues === undefined ? 0 : 1] ?? []
            assert.strictEqual(endingOf(got, stream, expected), "answer")
          }
          yield* settled()
          assert.strictEqual((yield* ask({ url, stream, session: "s", input: [user("One")] })).status, 200)
        }).pipe(Effect.provide(proxied(example.settings))),
      )
    }
  })
}
