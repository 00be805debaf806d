/**
 * The command `simulator`: prints one line with its address and runs until it is interrupted.
 */
import { Console, Effect, Predicate, Schema } from "effect"
import type { SimulatorOptions } from "../simulator/Simulator.ts"
import { Simulator } from "../simulator/Simulator.ts"

/** Why the simulator could not start. `message` is the line to show. */
export class SimulatorError extends Schema.TaggedError<SimulatorError>()("SimulatorError", {
  message: Schema.String,
  cause: Schema.Defect(),
}) {}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "the port is in use",
  EACCES: "the system does not allow it",
  ERR_OUT_OF_RANGE: "a port is a whole number from 0 to 65535",
}

/** For an app, a port that can't be had is a defect of its test; the user who typed the port can mend it. */
const explained = (port: number) => (defect: unknown) => {
  const code = Predicate.hasProperty(defect, "code") ? String(defect.code) : ""
  const reason = reasons[code]
  return reason === undefined
    ? Effect.die(defect)
    : Effect.fail(new SimulatorError({ message: `Cannot listen on 127.0.0.1:${port}: ${reason}`, cause: defect }))
}

/** Prints `simulator http://127.0.0.1:PORT/v1` (the path is the profile's) and never ends by itself. Keeps the latest 100 records unless told else. */
export const runSimulator = (options: SimulatorOptions = {}): Effect.Effect<never, SimulatorError> =>
  Effect.gen(function* () {
    const simulator = yield* Simulator
    yield* Console.log(`simulator ${simulator.url}`)
    return yield* Effect.never
  }).pipe(
    Effect.provide(Simulator.layer({ recordLimit: 100, ...options })),
    Effect.catchDefect(explained(options.port ?? 0)),
  )
