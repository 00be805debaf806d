/**
 * Several upstreams at once, each closed with the scope.
 */
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { SimulatorOptions, SimulatorService } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Says } from "./PlainUpstream.ts"
import { PlainUpstream } from "./PlainUpstream.ts"

export const simulatorOf = (options: SimulatorOptions = {}): Effect.Effect<SimulatorService, never, Scope.Scope> =>
  Effect.map(Layer.build(Simulator.layer(options)), (context) => Context.get(context, Simulator))

export const plainOf = (says: Says): Effect.Effect<PlainUpstream["Service"], never, Scope.Scope> =>
  Effect.map(Layer.build(PlainUpstream.layer(says)), (context) => Context.get(context, PlainUpstream))
