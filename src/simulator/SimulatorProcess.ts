/**
 * The simulator as a process of its own: prints one line with its address and runs until it is interrupted.
 */
import { Console, Effect } from "effect"
import type { SimulatorOptions } from "./Simulator.ts"
import { Simulator } from "./Simulator.ts"

/** Prints `simulator http://127.0.0.1:PORT/v1` and never ends by itself. Keeps the latest 100 records unless told else. */
export const runSimulator = (options: SimulatorOptions = {}): Effect.Effect<never> =>
  Effect.gen(function* () {
    const simulator = yield* Simulator
    yield* Console.log(`simulator ${simulator.url}`)
    return yield* Effect.never
  }).pipe(Effect.provide(Simulator.layer({ recordLimit: 100, ...options })))
