/**
 * Plants each of the small mistakes in this folder into a copy of the sources, and expects the tests to notice.
 *
 * A mistake is a patch. It ends with 1 if a patch does not apply any more, if one goes unnoticed, if the tests fail without
 * any of them, or if a schedule that a property printed has more than a dozen steps. Words on the command line choose the
 * patches whose names hold one of them.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Data, Effect, FileSystem, Layer, Option, Path } from "effect"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const patches = fileURLToPath(new URL("./", import.meta.url))

const copied = [
  "src",
  "test/lifecycle",
  "test/turn",
  "test/wire",
  "test/replays",
  "package.json",
  "tsconfig.json",
  "vitest.config.ts",
]
/** The examples first, which take a second; the properties only if those have noticed nothing. */
const turnStages = [
  ["test/turn/NamedEdits.test.ts", "test/turn/Members.test.ts", "test/turn/Replays.test.ts"],
  ["test/turn/Law.test.ts", "test/turn/EditedHistory.test.ts"],
]
const poolStages = [["test/lifecycle/Pool.test.ts"]]

/** `pool-…` are mistakes of the pool, all others of what a turn means. */
const isOfPool = (patch: string) => patch.startsWith("pool-")

/** The longest schedule that may be left of a failure. */
const maxSteps = 12

type Verdict =
  | { readonly _tag: "Caught"; readonly by: string }
  | { readonly _tag: "Survived" }
  | { readonly _tag: "TooLong"; readonly by: string }
  | { readonly _tag: "DoesNotApply"; readonly message: string }

/** Exit code and output of a program; it dies with the scope. */
const run = Effect.fnUntraced(function* (cwd: string, command: ReadonlyArray<string>) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => Bun.spawn([...command], { cwd, stdin: "ignore", stdout: "pipe", stderr: "pipe" })),
    (child) =>
      Effect.promise(async () => {
        child.kill("SIGKILL")
        await child.exited
      }),
  )
  return yield* Effect.promise(async () => {
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { code, output: `${stdout}${stderr}` }
  })
}, Effect.scoped)

interface Report {
  readonly testResults: ReadonlyArray<{
    readonly message?: string
    readonly assertionResults: ReadonlyArray<{
      readonly status: string
      readonly fullName: string
      readonly failureMessages?: ReadonlyArray<string>
    }>
  }>
}

/** What failed first; a file that can't even be loaded counts by its message. */
const firstFailure = ({ testResults }: Report): string =>
  testResults.flatMap(({ assertionResults }) => assertionResults).find(({ status }) => status === "failed")?.fullName ??
  testResults.find(({ message }) => message !== undefined && message !== "")?.message?.split("\n")[0] ??
  "no test"

/** The shrunk schedule that a failed property printed: what was broken, and the number of its steps. */
const shrunk = ({ testResults }: Report) => {
  const messages = testResults.flatMap(({ assertionResults }) =>
    assertionResults.flatMap(({ failureMessages = [] }) => failureMessages),
  )
  for (const message of messages) {
    const found = /LifecycleError: (.+), broken [^]*?\n\nlimits .*\norder \d+\n([^]*?)\n\n/.exec(message)
    if (found !== null) return { broken: found[1] ?? "", steps: (found[2] ?? "").split("\n").length }
  }
  return undefined
}

const caught = (report: Report): Verdict => {
  const schedule = shrunk(report)
  if (schedule === undefined) return { _tag: "Caught", by: firstFailure(report) }
  const by = `${schedule.steps} step${schedule.steps === 1 ? "" : "s"}: ${schedule.broken}`
  return { _tag: schedule.steps > maxSteps ? "TooLong" : "Caught", by }
}

/** Runs the tests on a copy with the patch in it; undefined: without any. */
const judge = Effect.fnUntraced(function* (patch: string | undefined, stages: ReadonlyArray<ReadonlyArray<string>>) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-mutant-" })
  yield* fs.makeDirectory(path.join(folder, "test"))
  for (const name of copied) yield* fs.copy(path.join(root, name), path.join(folder, name))
  yield* fs.symlink(path.join(root, "node_modules"), path.join(folder, "node_modules"))
  if (patch !== undefined) {
    const applied = yield* run(folder, ["git", "apply", path.join(patches, patch)])
    if (applied.code !== 0) return { _tag: "DoesNotApply", message: applied.output.trim() } satisfies Verdict
  }
  const report = path.join(folder, "report.json")
  for (const tests of stages) {
    const vitest = [
      "node_modules/.bin/vitest",
      "run",
      "--bail=1",
      "--reporter=json",
      `--outputFile=${report}`,
      ...tests,
    ]
    const ended = yield* run(folder, [process.execPath, "--bun", ...vitest])
    if (ended.code === 0) continue
    const written = yield* Effect.option(fs.readFileString(report))
    return Option.match(written, {
      onNone: (): Verdict => ({ _tag: "Caught", by: `no report: ${ended.output.trim().slice(-200)}` }),
      onSome: (text) => caught(JSON.parse(text) as Report),
    })
  }
  return { _tag: "Survived" } satisfies Verdict
}, Effect.scoped)

/** A mistake that makes the tests run for ever is noticed, too. */
const judged = (patch: string | undefined, stages: ReadonlyArray<ReadonlyArray<string>>) =>
  judge(patch, stages).pipe(
    Effect.timeoutOrElse({
      duration: "10 minutes",
      orElse: () => Effect.succeed<Verdict>({ _tag: "Caught", by: "the time limit" }),
    }),
  )

class Unnoticed extends Data.TaggedError("Unnoticed")<{ readonly message: string }> {}

const program = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const words = process.argv.slice(2)
  const names = (yield* fs.readDirectory(patches))
    .filter((name) => name.endsWith(".patch"))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
    .sort()
  const stagesOf = (patch: string) => (isOfPool(patch) ? poolStages : turnStages)
  const clean = yield* judged(undefined, [...new Set(names.map(stagesOf))].flat())
  if (clean._tag !== "Survived") {
    return yield* new Unnoticed({ message: `The tests fail without a mistake: ${JSON.stringify(clean)}` })
  }
  const verdicts = yield* Effect.forEach(
    names,
    (name) => Effect.map(judged(name, stagesOf(name)), (verdict) => ({ name: name.replace(/\.patch$/, ""), verdict })),
    { concurrency: 2 },
  )
  const width = Math.max(0, ...names.map((name) => name.length))
  for (const { name, verdict } of verdicts) {
    const detail = "by" in verdict ? verdict.by : "message" in verdict ? verdict.message : ""
    yield* Console.log(`${name.padEnd(width)}  ${verdict._tag.padEnd(12)}  ${detail}`.trimEnd())
  }
  const missed = verdicts.filter(({ verdict }) => verdict._tag !== "Caught")
  yield* Console.log(`${verdicts.length - missed.length} of ${verdicts.length} caught`)
  if (missed.length > 0 || verdicts.length === 0) {
    return yield* new Unnoticed({ message: missed.map(({ name }) => name).join(", ") || "There are no patches" })
  }
})

program.pipe(
  Effect.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer)),
  Effect.tapError((error) => Console.error(`mutants: ${error.message}`)),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
