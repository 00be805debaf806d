import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { run } from "../support/Child.ts"
import { sample } from "../support/Runs.ts"
import { App, root, takeNextPatch } from "./Packed.ts"

/** How each runtime runs a file of the app. */
const runtimes = {
  Bun: [process.execPath],
  Node: [`${root}node_modules/node/bin/node`],
  Deno: [`${root}node_modules/.bin/deno`, "run", "--allow-all", "--no-lock", "--node-modules-dir=manual"],
}

interface Printed {
  readonly ways: ReadonlyArray<string>
  readonly models?: number
}

const started = Effect.fnUntraced(function* (
  runtime: keyof typeof runtimes,
  file: string,
  more: ReadonlyArray<string> = [],
) {
  const { folder } = yield* App
  const { code, stderr, stdout } = yield* run([...runtimes[runtime], `src/${file}`, ...more], {
    cwd: folder,
    env: { HOME: folder, NO_COLOR: "1" },
  })
  assert.strictEqual(code, 0, stderr)
  assert.strictEqual(stderr, "")
  return JSON.parse(stdout) as unknown
})

const conversations = [
  { name: "the openai SDK", file: "openai.mjs", turns: 20, options: [], models: true },
  { name: "the AI SDK, which stores", file: "aiSdk.mjs", turns: 6, options: ["true"], models: false },
  { name: "the AI SDK, which does not store", file: "aiSdk.mjs", turns: 6, options: ["false"], models: false },
  { name: "an Effect client", file: "httpClient.mjs", turns: 6, options: [], models: false },
  { name: "the Agents SDK", file: "agents.mjs", turns: 6, options: [], models: false },
]

/** The settings that an app's `tsc` may have: what is declared must be right without ours. */
const compilers = {
  "the browser's types": { lib: ["ES2022", "DOM", "ESNext.Disposable"], types: [] },
  "Node's types": { lib: ["ES2022", "DOM", "ESNext.Disposable"], types: ["node"] },
  "exact optional properties": {
    lib: ["ES2022", "DOM", "ESNext.Disposable"],
    types: [],
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
  },
  "declarations of its own": {
    lib: ["ES2022", "DOM", "ESNext.Disposable"],
    types: [],
    declaration: true,
    noEmit: false,
    rootDir: "src",
    outDir: "out",
  },
}

/** By hand one conversation on each runtime, and one compiler. */
const cells = sample(
  conversations.flatMap((conversation) =>
    (["Bun", "Node", "Deno"] as const).map((runtime) => ({ ...conversation, runtime })),
  ),
  0.3,
)

/** Each costs about a millisecond on Node, mostly to find it. */
const mostModules = 340

const why = leftOut(import.meta.url, "it packs the package, and installs it on Bun, Node and Deno")

describe.skipIf(why !== undefined)(`The package, installed from its tarball${saying(why)}`, () => {
  layer(App.layer)((it) => {
    for (const { file, models, name, options, runtime, turns } of cells) {
      it.effect(`carries ${name} on ${runtime}: one dial, and every later turn a suffix`, () =>
        Effect.gen(function* () {
          const simulator = yield* Simulator
          const printed = (yield* started(runtime, file, [simulator.url, ...options])) as Printed
          assert.deepStrictEqual(printed.ways, ["full", ...Array.from({ length: turns - 1 }, () => "suffix")])
          if (models) assert.isAbove(printed.models ?? 0, 0)
          assert.strictEqual(simulator.counters.upgrades, 1)
          const ids = simulator.turns.map(({ responseId }) => responseId)
          assert.deepStrictEqual(
            simulator.turns.map(({ request }) => request?.["previous_response_id"]),
            [undefined, ...ids.slice(0, -1)],
          )
        }).pipe(Effect.provide(Simulator.layer())),
      )
    }

    it.effect.each(["Bun", "Node", "Deno"] as const)("has an upstream to test against on %s", (runtime) =>
      Effect.gen(function* () {
        const printed = yield* started(runtime, "simulator.mjs")
        assert.deepStrictEqual(printed, { texts: 1, broken: "Failure", upgrades: 1, websocketTurns: 1 })
      }),
    )

    it.effect("lets an app replace each service that it exports by another layer", () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const printed = (yield* started("Bun", "replace.mjs", [simulator.url])) as Record<"exported" | "used", unknown>
        assert.deepStrictEqual(printed.used, printed.exported)
        assert.isAbove((printed.exported as ReadonlyArray<string>).length, 30)
      }).pipe(Effect.provide(Simulator.layer())),
    )

    it.effect("has a kit that runs under plain vitest on Node", () =>
      Effect.gen(function* () {
        const { folder } = yield* App
        const vitest = ["node_modules/vitest/vitest.mjs", "run", "--testTimeout=60000", "src/kit.test.mjs"]
        const { stderr, stdout } = yield* run([...runtimes.Node, ...vitest], {
          cwd: folder,
          env: { HOME: folder, NO_COLOR: "1" },
        })
        assert.match(stdout, /Tests +3 passed \(3\)/, stderr)
      }),
    )

    it.effect("loads next to nothing for `respool/fetch`, and for its turns no more than they need", () =>
      Effect.gen(function* () {
        const { alone, all, ready } = (yield* started("Node", "modules.mjs")) as Record<
          "alone" | "ready" | "all",
          ReadonlyArray<string>
        >
        assert.deepStrictEqual(alone, ["respool/dist/Fetch.js", "respool/dist/downstream/fetch/WebTurn.js"])
        assert.include(ready, "respool/dist/Engine.js")
        const others =
          /^respool\/dist\/((cli|simulator|testing|downstream\/(http|socket|operator))\/|(Server|Reload|Respool)\.|.*Bun)/
        assert.deepStrictEqual(
          ready.filter((name) => others.test(name)),
          [],
        )
        // A barrel brings all of its folder: it was 461 modules with those of effect.
        for (const name of all) assert.notMatch(name, /^effect\/dist\/(.*\/)?index\.js$/)
        assert.isAbove(all.length, ready.length)
        assert.isAtMost(ready.length, mostModules)
      }),
    )

    const compiled = Effect.fnUntraced(function* (name: string, options: object) {
      const fs = yield* FileSystem.FileSystem
      const { folder } = yield* App
      const config = `${folder}/tsconfig.${name.replaceAll(/\W/g, "-")}.json`
      const compilerOptions = { target: "ES2022", module: "nodenext", strict: true, noEmit: true, ...options }
      yield* fs.writeFileString(config, JSON.stringify({ compilerOptions, files: ["src/types.ts"] }))
      const { stdout } = yield* run([process.execPath, "--bun", `${root}node_modules/.bin/tsc`, "-p", config], {
        cwd: folder,
        env: process.env,
      })
      return stdout
    }, Effect.provide(NodeFileSystem.layer))

    it.effect.each(sample(Object.entries(compilers)))("is typed for an app with %s", ([name, options]) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* compiled(name, options), "")
      }),
    )

    // The last, since it changes what is installed.
    it.effect("takes the app's effect where that is the next patch, and has none beside it", () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const { folder } = yield* App
        const version = yield* takeNextPatch(folder)
        assert.deepStrictEqual(yield* started("Node", "copies.mjs"), { versions: [version] })
        const [[, options]] = Object.entries(compilers) as [[string, object]]
        assert.strictEqual(yield* compiled("the next patch", options), "")
        const printed = (yield* started("Node", "httpClient.mjs", [simulator.url])) as Printed
        assert.deepStrictEqual(printed.ways.slice(0, 2), ["full", "suffix"])
      }).pipe(Effect.provide([NodeFileSystem.layer, Simulator.layer()])),
    )
  })
})
