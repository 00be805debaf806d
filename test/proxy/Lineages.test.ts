import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Script } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { user } from "../support/Items.ts"
import { post } from "../support/AskProxy.ts"
import { idOf, outputOf, way } from "../support/Ask.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { socketsOpen } from "../support/OpenSockets.ts"
import { runs } from "../support/Runs.ts"

/** Every answer tells what the last user message said, so that no two branches have the same conversation. */
const echo: Script = ({ context, index }) => ({
  output: [
    { _tag: "Reasoning", summary: [`thinking ${index}`] },
    { _tag: "Message", text: `answer ${index} to ${JSON.stringify(context.at(-1)?.["content"])}` },
  ],
})

/** One turn over real HTTP; gives what came back and which way it went. */
const turn = Effect.fnUntraced(function* (
  input: ReadonlyArray<JsonObject>,
  options: { readonly session?: string; readonly more?: JsonObject } = {},
) {
  const { session } = options
  const answer = yield* post(
    { store: false, input: [...input], ...options.more },
    session === undefined ? {} : { headers: { "session-id": session } },
  )
  const [how = null, reason = null] = way(answer, "input", "reason")
  return { id: idOf(answer), output: outputOf(answer), input: how, reason }
})

/** The text of every item that the model saw in the simulator's turn. */
const seen = (context: ReadonlyArray<string>) => context.join("\n")

const proxied = TestProxy.layer({ simulator: { script: echo } })

describe("lineage", () => {
  it.effect("64 parallel branches of one session each continue their own line and read no other's", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const branches = 64
      const first = yield* turn([user("common ground")], { session: "one" })
      const trunk = [user("common ground"), ...first.output]
      const suffixes = yield* Effect.forEach(
        Array.from({ length: branches }, (_, index) => `branch-${index}-`),
        Effect.fnUntraced(function* (name) {
          let history = trunk
          const inputs: Array<string | null> = []
          for (let step = 0; step < 4; step++) {
            history = [...history, user(`${name} step ${step}`)]
            const answer = yield* turn(history, { session: "one" })
            inputs.push(answer.input)
            history = [...history, ...answer.output]
          }
          return inputs
        }),
        { concurrency: "unbounded" },
      )
      // One branch finds the trunk's connection; the others begin with all they know, and continue from there.
      assert.strictEqual(suffixes.filter(([input]) => input === "suffix").length, 1)
      for (const [, ...later] of suffixes) assert.deepStrictEqual(later, ["suffix", "suffix", "suffix"])
      assert.strictEqual(simulator.counters.upgrades, branches)
      assert.strictEqual(simulator.counters.refusedTurns, 0)
      for (const { context } of simulator.turns.slice(1)) {
        const names = new Set(seen(context).match(/branch-\d+-/g))
        assert.strictEqual(names.size, 1)
      }
    }).pipe(Effect.provide(proxied)),
  )

  it.effect(
    "best-of-n: equal first turns at once, and each answer's follow-up goes to the connection that gave it",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const answers = yield* Effect.all(
          Array.from({ length: 8 }, () => turn([user("same question")])),
          { concurrency: "unbounded" },
        )
        for (const { output } of answers.toReversed()) {
          const next = yield* turn([user("same question"), ...output, user("go on")])
          assert.strictEqual(next.reason, "continued")
          const { context } = simulator.turns.at(-1) ?? { context: [] }
          assert.include(seen(context), JSON.stringify(output[1]).match(/answer \d+ to/)?.[0] ?? "no answer")
        }
        assert.strictEqual(simulator.counters.upgrades, 8)
      }).pipe(Effect.provide(proxied)),
  )

  it.effect("a main agent keeps its chain while twenty sub-agents under its session name come and go", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      let history: ReadonlyArray<JsonObject> = [user("main")]
      const step = Effect.fnUntraced(function* () {
        const answer = yield* turn(history, { session: "agent" })
        history = [...history, ...answer.output, user("main goes on")]
        return { input: answer.input, connection: simulator.turns.at(-1)?.connection }
      })
      const first = yield* step()
      for (let sub = 0; sub < 20; sub++) {
        const task = [user(`sub ${sub}`)]
        const answers = yield* Effect.all(
          [turn(task, { session: "agent" }), turn([...task, user("more")], { session: "agent" })],
          { concurrency: "unbounded" },
        )
        yield* turn([...task, ...answers[0].output, user("done?")], { session: "agent" })
        const main = yield* step()
        assert.strictEqual(main.input, "suffix")
        assert.strictEqual(main.connection, first.connection)
      }
      assert.strictEqual(simulator.counters.refusedTurns, 0)
    }).pipe(Effect.provide(proxied)),
  )

  it.effect(
    "one-shot requests without a session name, however many, take at most sixteen dials where eight are under way",
    () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const count = runs(1000)
        yield* Effect.forEach(
          Array.from({ length: count }, (_, index) => index),
          (index) => turn([user(`question ${index}`)]),
          { concurrency: 8, discard: true },
        )
        assert.strictEqual(simulator.counters.websocketTurns, count)
        assert.isAtMost(simulator.counters.upgrades, 16)
      }).pipe(Effect.provide(proxied)),
  )

  it.effect("a client without any session name continues by content", () =>
    Effect.gen(function* () {
      const first = yield* turn([user("a")])
      const second = yield* turn([user("a"), ...first.output, user("b")])
      assert.strictEqual(second.reason, "continued")
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("a client's own chain stays on the connection that holds it, unstored ones too", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* turn([user("a")])
      const other = yield* turn([user("z")])
      const second = yield* turn([user("b")], { more: { previous_response_id: first.id } })
      assert.strictEqual(second.reason, "client_chain")
      const third = yield* turn([user("y")], { more: { previous_response_id: other.id } })
      assert.strictEqual(third.reason, "client_chain")
      assert.strictEqual(simulator.counters.upgrades, 2)
      assert.strictEqual(simulator.counters.refusedTurns, 0)
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("a stored id outlives its connection", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const first = yield* turn([user("a")], { more: { store: true } })
      yield* simulator.disconnect()
      yield* socketsOpen(simulator, 0)
      const second = yield* turn([user("b")], { more: { store: true, previous_response_id: first.id } })
      // The proxy may learn of the close only when it sends.
      assert.include(["client_anchor", "socket_lost_before_send", "upstream_closed"], second.reason)
      assert.strictEqual(simulator.turns.at(-1)?.context.length, 4)
    }).pipe(Effect.provide(proxied)),
  )
})
