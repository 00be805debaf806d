/**
 * Waits until the simulator counts as many open sockets as there should be; those that stay open fail the test by name.
 */
import { Effect } from "effect"
import type { SimulatorService } from "../../src/simulator/Simulator.ts"
import { eventually, promptly } from "./EventLoop.ts"

const counted = ({ counters }: SimulatorService, count: number) =>
  [() => counters.openSockets === count, () => `${count} open sockets, there are ${counters.openSockets}`] as const

/** After something in another thread or process, such as a client that leaves. */
export const socketsOpen = (simulator: SimulatorService, count: number) => eventually(...counted(simulator, count))

/** After something in this thread, such as the end of a scope. */
export const socketsOpenNow = (simulator: SimulatorService, count: number) =>
  Effect.suspend(() => promptly(...counted(simulator, count)))
