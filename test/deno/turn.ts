/**
 * One turn through respool's own layers on Deno: prints what the upstream answered and how the turn went, as JSON.
 */
import { Clock, Effect, Layer, Redacted, Result } from "effect"
import { Executor, layerDialerWs, parseRequestBody, Server, Settings, type TurnRoute } from "../../src/Respool.ts"

declare const Deno: { readonly args: ReadonlyArray<string>; readonly version: { readonly deno: string } }

const body = new TextEncoder().encode(JSON.stringify({ model: "m", input: [{ role: "user", content: "hello" }] }))

const program = Effect.gen(function* () {
  const executor = yield* Executor
  const routes: Array<TurnRoute> = []
  const events: Array<string> = []
  const end = yield* executor.execute(
    {
      id: "req",
      body: Result.getOrThrow(parseRequestBody(body)),
      stream: true,
      query: "",
      startedAt: yield* Clock.currentTimeMillis,
      scope: "deno",
      scopeLabel: "deno",
      session: undefined,
      sessionName: undefined,
      credential: Redacted.make("Bearer test-key-a"),
      credentialId: "a",
      headers: {},
    },
    {
      route: (route) => routes.push(route),
      head: () => {},
      event: (type) => events.push(type) > 0,
      onDrain: (resume) => resume(),
    },
  )
  console.log(
    JSON.stringify({ deno: Deno.version.deno, type: end.type, transport: routes[0]?.transport, events: events.length }),
  )
})

const layers = Server.layerExecutor.pipe(
  Layer.provide(layerDialerWs),
  Layer.provide(Settings.layer({ upstreamUrl: Deno.args[0] ?? "" })),
)

Effect.runFork(Effect.provide(program, layers))
