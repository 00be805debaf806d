/**
 * Plants each of the small mistakes of `Mutants.ts` into a copy of the sources, and expects the tests to notice.
 *
 * It ends with 1 if a mistake can't be planted any more, if one goes unnoticed, if the tests fail without any of them, or
 * if a schedule that a property printed has more than a dozen steps. What only the whole proxy shows must be noticed by
 * what a test says, not by its time limit. Words on the command line choose the mistakes whose names hold one of them.
 * With `--drawn` the examples of what a turn means are left out: the generators of edits must find those by themselves.
 * With `--changed COMMIT` it is only those that are new since then, or whose file or tests are others.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Data, Effect, FileSystem, Layer, Option, Path } from "effect"
import { parseArgs } from "node:util"
import { fileURLToPath } from "node:url"
import { run } from "../support/Child.ts"
import type { Mutant } from "./Mutants.ts"
import { ofThePool, ofTheWhole, ofTurns } from "./Mutants.ts"
import { planted } from "./Plant.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

const copied = [
  "src",
  "test/CertificateReload.test.ts",
  "test/Fetch.test.ts",
  "test/PooledClient.test.ts",
  "test/Reload.test.ts",
  "test/Whole.test.ts",
  "test/cli",
  "test/cluster",
  "test/config",
  "test/downstream",
  "test/lifecycle",
  "test/observe",
  "test/proxy",
  "test/support",
  "test/turn",
  "test/upstream",
  "test/wire",
  "test/replays",
  "package.json",
  "tsconfig.json",
  "vitest.config.ts",
]
const {
  positionals: words,
  values: { changed: since, drawn: onlyDrawn },
} = parseArgs({
  allowPositionals: true,
  options: { drawn: { type: "boolean", default: false }, changed: { type: "string" } },
})

/** The examples first, which take a second; the properties only if those have noticed nothing. */
const turnStages = onlyDrawn
  ? [["test/turn/memory/EditedHistory.test.ts"]]
  : [
      ["test/turn/memory/NamedEdits.test.ts", "test/turn/memory/Members.test.ts", "test/turn/memory/Replays.test.ts"],
      ["test/turn/memory/Law.test.ts", "test/turn/memory/EditedHistory.test.ts"],
    ]
const poolStages = [["test/lifecycle/Pool.test.ts"]]

type Stages = ReadonlyArray<ReadonlyArray<string>>

/** `atOnce`: a test that runs into its time limit has not noticed. */
const all: ReadonlyArray<{ readonly mutant: Mutant; readonly stages: Stages; readonly atOnce: boolean }> = [
  ...ofTurns.map((mutant) => ({ mutant, stages: turnStages, atOnce: false })),
  ...ofThePool.map((mutant) => ({ mutant, stages: poolStages, atOnce: false })),
  ...ofTheWhole.map((mutant) => ({ mutant, stages: [mutant.noticedBy], atOnce: true })),
]

/** The longest schedule that may be left of a failure. */
const maxSteps = 12

type Verdict =
  | { readonly _tag: "Caught"; readonly by: string }
  | { readonly _tag: "Survived" }
  | { readonly _tag: "TimedOut"; readonly by: string }
  | { readonly _tag: "TooLong"; readonly by: string }
  | { readonly _tag: "NotPlanted"; readonly message: string }

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

/** What is said where nothing failed: then no file was found that holds a test. */
const noTest = "no test"

/** What failed first, and with what; a file that can't even be loaded counts by its message. */
const firstFailure = ({ testResults }: Report): string => {
  const failed = testResults
    .flatMap(({ assertionResults }) => assertionResults)
    .find(({ status }) => status === "failed")
  if (failed !== undefined) return `${failed.fullName}: ${failed.failureMessages?.[0]?.split("\n")[0] ?? ""}`
  const unloaded = testResults.find(({ message }) => message !== undefined && message !== "")
  return unloaded?.message?.split("\n")[0] ?? noTest
}

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
  if (schedule === undefined) {
    const by = firstFailure(report)
    if (by === noTest) return { _tag: "NotPlanted", message: "there is no test that could notice it" }
    return { _tag: by.includes("Test timed out") ? "TimedOut" : "Caught", by }
  }
  const by = `${schedule.steps} step${schedule.steps === 1 ? "" : "s"}: ${schedule.broken}`
  return { _tag: schedule.steps > maxSteps ? "TooLong" : "Caught", by }
}

/** How many mistakes are judged at a time, each in a copy of the sources of its own. */
const copies = 2

/** A copy of the sources, for as long as the scope. Each mistake that is planted in it is taken out again. */
const copy = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-mutants-" })
  yield* fs.makeDirectory(path.join(folder, "test"))
  for (const name of copied) yield* fs.copy(path.join(root, name), path.join(folder, name))
  yield* fs.symlink(path.join(root, "node_modules"), path.join(folder, "node_modules"))
  return folder
})

/** Plants a mistake for as long as the scope; false: it can't be. */
const plant = Effect.fnUntraced(function* (folder: string, mutant: Mutant) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.join(folder, mutant.file)
  const source = yield* fs.readFileString(file)
  const text = planted(mutant, source)
  if (text === undefined) return false
  yield* Effect.acquireRelease(fs.writeFileString(file, text), () => Effect.orDie(fs.writeFileString(file, source)))
  return true
})

/** Runs tests in a copy, by hand or in full; gives what they reported where one failed. */
const failing = Effect.fnUntraced(function* (folder: string, tests: ReadonlyArray<string>, CI: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const report = path.join(folder, "report.json")
  yield* fs.remove(report, { force: true })
  const vitest = ["node_modules/.bin/vitest", "run", "--bail=1", "--reporter=json", `--outputFile=${report}`, ...tests]
  const ended = yield* run([process.execPath, "--bun", ...vitest], { cwd: folder, env: { ...process.env, CI } })
  if (ended.code === 0) return undefined
  return Option.match(yield* Effect.option(fs.readFileString(report)), {
    onNone: (): Verdict => ({
      _tag: "Caught",
      by: `no report: ${`${ended.stdout}${ended.stderr}`.trim().slice(-200)}`,
    }),
    onSome: (text) => caught(JSON.parse(text) as Report),
  })
})

const judge = Effect.fnUntraced(function* (folder: string, mutant: Mutant, stages: Stages) {
  if (!(yield* plant(folder, mutant))) {
    return { _tag: "NotPlanted", message: `not once in ${mutant.file}` } satisfies Verdict
  }
  for (const tests of stages) {
    const verdict = yield* failing(folder, tests, "true")
    if (verdict !== undefined) return verdict
  }
  return { _tag: "Survived" } satisfies Verdict
}, Effect.scoped)

/** A mistake that makes the tests run for ever is noticed, too. */
const judged = (folder: string, mutant: Mutant, stages: Stages) =>
  judge(folder, mutant, stages).pipe(
    Effect.timeoutOrElse({
      duration: "10 minutes",
      orElse: () => Effect.succeed<Verdict>({ _tag: "Caught", by: "the time limit" }),
    }),
  )

/** Whether a mistake is new since the commit, or its file or one of its tests is another than then. */
const changedSince = Effect.fnUntraced(function* (commit: string) {
  const git = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
    const { code, stderr, stdout } = yield* run(["git", ...args], { cwd: root, env: process.env })
    return code === 0 ? stdout : yield* new Unnoticed({ message: stderr.trim() })
  })
  const files = new Set((yield* git("diff", "--name-only", commit)).split("\n"))
  const known = yield* git("grep", "-h", "", commit, "--", "test/mutants/*.ts")
  return ({ mutant: { file, name }, stages }: (typeof all)[number]) =>
    files.has(file) || stages.flat().some((test) => files.has(test)) || !known.includes(`"${name}"`)
})

class Unnoticed extends Data.TaggedError("Unnoticed")<{ readonly message: string }> {}

const program = Effect.gen(function* () {
  const isChosen = since === undefined ? () => true : yield* changedSince(since)
  const chosen = all.filter(
    (one) => (words.length === 0 || words.some((word) => one.mutant.name.includes(word))) && isChosen(one),
  )
  if (chosen.length === 0) {
    if (since !== undefined) return yield* Console.log("None has changed since then")
    return yield* new Unnoticed({ message: "There are no mistakes of such a name" })
  }
  const free = yield* Effect.all(Array.from({ length: copies }, () => copy))
  // That the properties hold in full is for the tests themselves; here it is enough that no test fails by itself.
  const files = new Set(chosen.flatMap(({ stages }) => stages).flat())
  const clean = yield* failing(free[0] ?? root, [...files], "")
  if (clean !== undefined) {
    return yield* new Unnoticed({ message: `The tests fail without a mistake: ${JSON.stringify(clean)}` })
  }
  const width = Math.max(...chosen.map(({ mutant: { name } }) => name.length))
  const verdicts = yield* Effect.forEach(
    chosen,
    Effect.fnUntraced(function* ({ atOnce, mutant, stages }) {
      const { name } = mutant
      const folder = free.pop() ?? (yield* copy)
      const verdict = yield* judged(folder, mutant, stages)
      free.push(folder)
      const detail = "by" in verdict ? verdict.by : "message" in verdict ? verdict.message : ""
      yield* Console.log(`${name.padEnd(width)}  ${verdict._tag.padEnd(10)}  ${detail}`.trimEnd())
      return { name, verdict, atOnce }
    }),
    { concurrency: copies },
  )
  const missed = verdicts.filter(
    ({ atOnce, verdict }) => verdict._tag !== "Caught" && (atOnce || verdict._tag !== "TimedOut"),
  )
  yield* Console.log(`${verdicts.length - missed.length} of ${verdicts.length} caught`)
  if (missed.length > 0) return yield* new Unnoticed({ message: missed.map(({ name }) => name).join(", ") })
}).pipe(Effect.scoped)

program.pipe(
  Effect.provide(Layer.mergeAll(NodeFileSystem.layer, NodePath.layer)),
  Effect.tapError((error) => Console.error(`mutants: ${error.message}`)),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
