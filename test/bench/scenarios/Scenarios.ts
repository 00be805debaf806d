/**
 * All scenarios, in the order in which they run.
 */
import type { Scenario } from "../harness/Scenario.ts"
import { aborts } from "./Aborts.ts"
import { agentLoop } from "./AgentLoop.ts"
import { branches } from "./Branches.ts"
import { bodiesScenario } from "./Bodies.ts"
import { coldStart } from "./ColdStart.ts"
import { eventScenarios } from "./Events.ts"
import { forward } from "./Forward.ts"
import { idleScenarios } from "./Idle.ts"
import { siblings } from "./Siblings.ts"
import { turnScenarios } from "./Turns.ts"

export const scenarios: ReadonlyArray<Scenario> = [
  ...eventScenarios,
  ...turnScenarios,
  ...idleScenarios,
  aborts,
  bodiesScenario,
  coldStart,
  agentLoop,
  branches,
  siblings,
  forward,
]
