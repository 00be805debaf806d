import { assert, describe, it } from "@effect/vitest"
import { Console, Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator, tokenLabel } from "../../src/simulator/Simulator.ts"
import { runSimulator } from "../../src/cli/SimulatorProcess.ts"
import { connect, get, post } from "../support/TestClient.ts"

describe("Lifetime", () => {
  it.effect("closes its sockets, turns and listener with its scope", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(Simulator.layer(), scope)
      const simulator = yield* Effect.provideContext(Simulator, context)
      const client = yield* connect(simulator)
      yield* simulator.failNext({ _tag: "Stall", at: 1 })
      yield* client.send({ input: "x" })
      yield* client.next
      yield* simulator.configure({ websocket: "hang" })
      const hanging = yield* Effect.forkChild(Effect.scoped(connect(simulator)))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* client.closed, 1001)
      assert.strictEqual(simulator.turns[0]?.status, "abandoned")
      yield* Fiber.join(hanging)
      const exit = yield* Effect.exit(Effect.tryPromise(() => fetch(`${simulator.url}/models`)))
      assert.strictEqual(exit._tag, "Failure")
    }),
  )

  it.effect("runs several times in one process, each on a port of its own", () =>
    Effect.gen(function* () {
      const build = Layer.build(Layer.fresh(Simulator.layer()))
      const one = yield* Effect.provideContext(Simulator, yield* build)
      const two = yield* Effect.provideContext(Simulator, yield* build)
      assert.notStrictEqual(one.port, two.port)
      yield* post(one, { input: "x" })
      assert.deepStrictEqual([one.turns.length, two.turns.length], [1, 0])
    }),
  )

  it.effect(
    "runs as a process in any profile, where the accepted tokens and the connections are the control's too",
    () =>
      Effect.gen(function* () {
        const printed = yield* Deferred.make<string>()
        const console = yield* Console.Console
        const fiber = yield* Effect.forkChild(
          runSimulator({ profile: "azure", accepts: ["test-key-a"] }).pipe(
            Effect.provideService(Console.Console, {
              ...console,
              log: (line: string) => void Deferred.doneUnsafe(printed, Effect.succeed(line)),
            }),
          ),
        )
        const line = yield* Deferred.await(printed)
        assert.match(line, /^simulator http:\/\/127\.0\.0\.1:\d+\/openai\/v1$/)
        const url = line.replace("simulator ", "")
        const control = { url: url.replace("/openai/v1", "/simulator") }
        const headers = { authorization: "Bearer test-key-a" }
        const client = yield* connect({ url }, headers)
        yield* client.turn({ model: "gpt-4.1", input: "x" })
        const configure = (apiKeys: ReadonlyArray<string> | null) =>
          post(control, JSON.stringify({ apiKeys }), { path: "/configure" })
        const status = () => Effect.map(get({ url }, "/models", "GET", headers), ({ status }) => status)
        assert.strictEqual(yield* status(), 200)
        assert.strictEqual((yield* configure(["test-key-b"])).status, 200)
        assert.strictEqual(yield* status(), 401)
        assert.strictEqual((yield* configure(null)).status, 200)
        assert.strictEqual(yield* status(), 200)
        const { body } = yield* get(control, "/connections")
        const { openedAt: _, ...connection } = (body as unknown as ReadonlyArray<JsonObject>)[0] ?? {}
        assert.deepStrictEqual(connection, {
          ordinal: 0,
          token: tokenLabel("test-key-a"),
          models: ["gpt-4.1"],
          pings: 0,
          open: true,
        })
        yield* Fiber.interrupt(fiber)
      }),
  )

  it.effect("prints its address as a process and is controlled over HTTP", () =>
    Effect.gen(function* () {
      const printed = yield* Deferred.make<string>()
      const console = yield* Console.Console
      const fiber = yield* Effect.forkChild(
        runSimulator().pipe(
          Effect.provideService(Console.Console, {
            ...console,
            log: (line: string) => void Deferred.doneUnsafe(printed, Effect.succeed(line)),
          }),
        ),
      )
      const line = yield* Deferred.await(printed)
      assert.match(line, /^simulator http:\/\/127\.0\.0\.1:\d+\/v1$/)
      const url = line.replace("simulator ", "")
      const control = { url: url.replace("/v1", "/simulator") }
      yield* post({ url }, { input: "x" })
      const stats = () => Effect.promise(() => fetch(`${control.url}/stats`).then((answer) => answer.json()))
      assert.deepInclude(yield* stats(), { httpTurns: 1, executions: 1 })
      const configure = (text: string) => post(control, text, { path: "/configure" })
      const fault = { _tag: "Error", at: 0, status: 503, code: "overloaded", message: "later" }
      const refusal = { _tag: "Refuse", status: 429, code: "rate_limit_exceeded", message: "slow down" }
      assert.strictEqual(
        (yield* configure(JSON.stringify({ failNext: [[fault], [refusal]], apiKeys: null }))).status,
        200,
      )
      assert.strictEqual((yield* post({ url }, { input: "x" })).status, 503)
      assert.strictEqual((yield* post({ url }, { input: "x" })).status, 429)
      assert.strictEqual((yield* configure('{"latency":"long"}')).status, 400)
      assert.strictEqual((yield* configure('{"unknown":1}')).status, 400)
      assert.strictEqual((yield* post(control, "", { path: "/reset" })).status, 200)
      assert.deepInclude(yield* stats(), { httpTurns: 0, executions: 0 })
      yield* Fiber.interrupt(fiber)
    }),
  )
})
