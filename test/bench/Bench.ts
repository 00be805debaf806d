/**
 * Runs the chosen scenarios one after the other and gives their reports, with what they were run on.
 */
import { Effect } from "effect"
import { cpus, loadavg, release } from "node:os"
import { BenchError } from "./harness/Child.ts"
import type { Goal } from "./harness/Goals.ts"
import { goalsOf } from "./harness/Goals.ts"
import type { Report, Settings } from "./harness/Scenario.ts"
import { respoolSettings } from "./harness/Targets.ts"
import { scenarios } from "./scenarios/Scenarios.ts"

interface Machine {
  readonly cpus: ReadonlyArray<string>
  readonly kernel: string
  readonly bun: string
  /** The hard limit of open files, which every process of the benchmark is started with. */
  readonly openFiles: string
  /** Load averages of the machine before the first scenario: others may use it, too. */
  readonly load: ReadonlyArray<number>
  /** All else is respool's default, its log at `info` into a file. */
  readonly respool: Readonly<Record<string, string>>
}

interface Results {
  readonly machine: Machine
  readonly settings: { readonly size: string; readonly rounds: number }
  readonly reports: ReadonlyArray<Report>
  readonly goals: ReadonlyArray<Goal>
}

export const scenarioNames = scenarios.map(({ name }) => name)

const machineNow = Effect.sync((): Machine => ({
  cpus: cpus().map(({ model }) => model),
  kernel: release(),
  bun: Bun.version,
  openFiles: Bun.spawnSync(["sh", "-c", "ulimit -Hn"]).stdout.toString().trim(),
  load: loadavg(),
  respool: respoolSettings,
}))

/** A name chooses the scenarios that are it or begin with it and a hyphen; none chooses all. */
export const bench = Effect.fnUntraced(function* (names: ReadonlyArray<string>, settings: Settings) {
  const fits = (scenario: string) =>
    names.length === 0 || names.some((name) => scenario === name || scenario.startsWith(`${name}-`))
  const unknown = names.find(
    (name) => !scenarioNames.some((scenario) => scenario === name || scenario.startsWith(`${name}-`)),
  )
  if (unknown !== undefined) {
    return yield* new BenchError({ message: `no scenario ${unknown}; there are ${scenarioNames.join(", ")}` })
  }
  const machine = yield* machineNow
  const reports: Array<Report> = []
  for (const { name, run } of scenarios) if (fits(name)) reports.push(yield* Effect.scoped(run(settings)))
  const { rounds, size } = settings
  return { machine, settings: { size, rounds }, reports, goals: goalsOf(reports) } satisfies Results
})
