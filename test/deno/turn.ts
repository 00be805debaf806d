/**
 * One turn on Deno, begun from bytes, without a server: prints what the upstream answered and how the turn went, as JSON.
 */
import { Effect, Fiber, Layer, References } from "effect"
import {
  callerCredential,
  Intake,
  layerDialerWs,
  Ownership,
  Server,
  Settings,
  type TurnRoute,
  Turns,
} from "../../src/Respool.ts"

declare const Deno: { readonly args: ReadonlyArray<string>; readonly version: { readonly deno: string } }

const caller = { scope: "deno", label: "deno", credential: callerCredential("Bearer test-key-a", "a"), tenant: false }

const program = Effect.gen(function* () {
  const bytes = new TextEncoder().encode(JSON.stringify({ model: "m", input: "hello", stream: true }))
  const turn = yield* Effect.flatMap(Intake, ({ read }) => read({ caller, headers: {}, bytes }))
  const routes: Array<TurnRoute> = []
  const events: Array<string> = []
  const sink = {
    route: (route: TurnRoute) => routes.push(route),
    head: () => {},
    event: (type: string) => events.push(type) > 0,
    onDrain: (resume: () => void) => resume(),
  }
  const { start } = yield* Turns
  const { type } = yield* Effect.flatMap(
    start(turn, sink, () => {}),
    Fiber.join,
  )
  const { deno } = Deno.version
  console.log(JSON.stringify({ deno, type, transport: routes[0]?.transport, events: events.length }))
})

const layers = Server.layerTurns.pipe(
  Layer.provide([Server.layerExecutor, Ownership.layerOff]),
  Layer.provide(layerDialerWs),
  Layer.provide(Settings.layer({ upstreamUrl: Deno.args[0] ?? "" })),
  // The standard output is for the result, not for the log.
  Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None")),
)

Effect.runFork(Effect.provide(program, layers))
