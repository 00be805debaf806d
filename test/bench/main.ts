/**
 * The benchmark's command line: a table on the standard output, or one JSON object; how far it is on the standard error.
 *
 *     bun run bench [--json] [--scenario a,b] [--target a,b] [--rounds N] [--quick] [--profile FOLDER]
 */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import { Cause, Console, Effect, Layer, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { bench, scenarioNames } from "./Bench.ts"
import { toStandardError } from "./harness/Scenario.ts"
import { targetNames, usualTargets } from "./harness/Targets.ts"
import { goalLines, reportLines } from "./harness/Table.ts"

const command = Command.make(
  "bench",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("print one JSON object"), Flag.withDefault(false)),
    scenario: Flag.String("scenario").pipe(
      Flag.withDescription(`some of ${scenarioNames.join(", ")}, or what they begin with, separated by commas`),
      Flag.withDefault(""),
    ),
    target: Flag.String("target").pipe(
      Flag.withDescription(`some of ${targetNames.join(", ")}, separated by commas`),
      Flag.withDefault(usualTargets.join(",")),
    ),
    rounds: Flag.Int("rounds").pipe(Flag.withDescription("measured rounds"), Flag.withDefault(5)),
    quick: Flag.Boolean("quick").pipe(Flag.withDescription("smaller, in a few minutes"), Flag.withDefault(false)),
    profile: Flag.String("profile").pipe(
      Flag.withDescription("a folder for CPU profiles of respool, which slow it down"),
      Flag.optional,
    ),
  },
  Effect.fnUntraced(function* ({ json, profile, quick, rounds, scenario, target }) {
    const results = yield* bench(scenario.split(",").filter(Boolean), {
      size: quick ? "quick" : "full",
      rounds,
      targets: targetNames.filter((name) => target.split(",").includes(name)),
      profile: Option.getOrUndefined(profile),
      say: toStandardError,
    })
    if (json) return yield* Console.log(JSON.stringify(results))
    const { goals, machine, reports } = results
    yield* Console.log(
      [
        `${machine.cpus.length} × ${machine.cpus[0]}, Linux ${machine.kernel}, Bun ${machine.bun}, open files ${machine.openFiles}`,
        `load average before ${machine.load.map((load) => load.toFixed(1)).join(" ")}, medians of ${rounds} rounds, (ratio to the floor)`,
        "",
        ...reports.flatMap(reportLines),
        ...goalLines(goals),
      ].join("\n"),
    )
  }),
).pipe(Command.withDescription("Measure respool beside the floor, the upstream alone, nginx and the Portkey gateway."))

const platform = Layer.mergeAll(NodeStdio.layer, NodeTerminal.layer, NodeChildProcessSpawner.layer).pipe(
  Layer.provideMerge(Layer.merge(NodeFileSystem.layer, NodePath.layer)),
)

command.pipe(
  Command.run({ version: "0" }),
  Effect.provide(platform),
  Effect.tapCause((cause) => Console.error(Cause.pretty(cause))),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
