/**
 * The command line as a person has it: in a terminal, through the scripts of a package, and through npx.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FileSystem, Layer } from "effect"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { agent } from "../../src/simulator/Script.ts"
import { ask } from "../support/Ask.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { address, folder, main, startProgram } from "../support/Command.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const npx = Bun.which("npx")
const escape = String.fromCharCode(27)
const ctrlC = String.fromCharCode(3)

/** A program in a terminal of its own, which has its standard output and its standard error. */
const inTerminal = Effect.fnUntraced(function* (
  command: ReadonlyArray<string>,
  options: { readonly cwd: string; readonly env: Readonly<Record<string, string>> },
) {
  const looking = new Set<() => void>()
  const decoder = new TextDecoder()
  let shown = ""
  const data = (_: unknown, bytes: Uint8Array) => {
    shown += decoder.decode(bytes, { stream: true })
    for (const look of looking) look()
  }
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => Bun.spawn([...command], { ...options, terminal: { cols: 300, rows: 50, data } })),
    (child) =>
      Effect.promise(async () => {
        child.kill("SIGKILL")
        await child.exited
        child.terminal?.close()
      }),
  )
  return {
    press: (keys: string) => Effect.sync(() => child.terminal?.write(keys)),
    shown: () => shown,
    /** Waits for what a person sees; gives what the first group matched. */
    shows: (pattern: RegExp) =>
      Effect.callback<string>((resume) => {
        const look = () => {
          const found = pattern.exec(shown)
          if (found !== null) resume(Effect.succeed(found[1] ?? found[0]))
        }
        looking.add(look)
        look()
        return Effect.sync(() => looking.delete(look))
      }),
    exitCode: Effect.promise(() => child.exited),
  }
})

/** As `address`, in a terminal, which ends lines in its own way. */
const shownAddress = /OPENAI_BASE_URL=(http:\/\/127\.0\.0\.1:\d+\/v1)/

const turn = (url: string, content: string) =>
  ask(`${url}/responses`, { key: "test-key-a", body: { model: "gpt-5.5", input: content } })

const isGone = (url: string) =>
  Effect.promise(() =>
    fetch(url, { proxy: false }).then(
      () => false,
      () => true,
    ),
  )

const layer = Layer.merge(NodeFileSystem.layer, Simulator.layer({ script: agent({ rounds: 0 }) }))

describe("In a terminal", () => {
  it.live("Ctrl-C through `bun start` drains the turn under way, shows no error and ends with 0", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const home = yield* folder
      const env = { HOME: home, RESPOOL_PORT: "0", RESPOOL_UPSTREAM_URL: simulator.url }
      const { exitCode, press, shown, shows } = yield* inTerminal([process.execPath, "start"], { cwd: root, env })
      const url = yield* shows(shownAddress)
      yield* simulator.failNext({ _tag: "Hold" })
      const held = yield* Effect.forkChild(turn(url, "Hello"))
      yield* simulator.until(({ turns }) => turns.length === 1)
      yield* press(ctrlC)
      yield* shows(/draining 1 turn/)
      yield* simulator.release
      const answer = yield* Fiber.join(held)
      assert.strictEqual(answer.status, 200, answer.text)
      assert.strictEqual(yield* exitCode, 0, shown())
      assert.notMatch(shown(), /error|exited/i)
    }).pipe(Effect.provide(layer)),
  )

  it.live("no line of the log has a colour, whatever its level", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const env = { HOME: cwd, RESPOOL_PORT: "0", RESPOOL_UPSTREAM_URL: "http://127.0.0.1:1/v1" }
      const command = [process.execPath, main, "serve", "--log-level", "debug"]
      const { exitCode, press, shown, shows } = yield* inTerminal(command, { cwd, env })
      const url = yield* shows(shownAddress)
      assert.strictEqual((yield* turn(url, "Hello")).status, 502)
      yield* shows(/level=WARN[^\n]*\n/)
      yield* press(ctrlC)
      assert.strictEqual(yield* exitCode, 0, shown())
      const lines = shown()
        .split("\r\n")
        .filter((line) => line.includes("level="))
      assert.isAbove(lines.length, 1)
      for (const line of lines) assert.notInclude(line, escape)
    }).pipe(Effect.provide(layer)),
  )
})

/** A folder in which npx finds respool as an install leaves it, so that it asks no registry. */
const installed = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const { url } = yield* Simulator
  const cwd = yield* folder
  yield* fs.makeDirectory(`${cwd}/node_modules/.bin`, { recursive: true })
  yield* fs.writeFileString(`${cwd}/package.json`, '{"name":"app","private":true}')
  const bin = `#!/bin/sh\nexec "${process.execPath}" "${main}" "$@"\n`
  yield* fs.writeFileString(`${cwd}/node_modules/.bin/respool`, bin, { mode: 0o755 })
  const env = {
    HOME: cwd,
    PATH: `${dirname(npx ?? "")}:/usr/bin:/bin`,
    npm_config_offline: "true",
    npm_config_update_notifier: "false",
    RESPOOL_PORT: "0",
    RESPOOL_UPSTREAM_URL: url,
  }
  return { cwd, env }
})

describe("npx respool serve", () => {
  const why = npx === null ? "for there is no npx" : leftOut(import.meta.url, "it starts npm")
  const command = [npx ?? "npx", "--yes", "respool", "serve"]

  it.live.skipIf(why !== undefined)(`ends with the proxy when it gets SIGTERM${saying(why)}`, () =>
    Effect.gen(function* () {
      const { exitCode, printed, signal } = yield* startProgram(command, yield* installed)
      const url = yield* printed(address)
      yield* signal("SIGTERM")
      yield* Effect.repeat(isGone(url), { until: (gone) => gone })
      yield* exitCode
    }).pipe(Effect.provide(layer)),
  )

  it.live.skipIf(why !== undefined)(`ends with the proxy at Ctrl-C, without an error${saying(why)}`, () =>
    Effect.gen(function* () {
      const { exitCode, press, shown, shows } = yield* inTerminal(command, yield* installed)
      const url = yield* shows(shownAddress)
      yield* press(ctrlC)
      yield* Effect.repeat(isGone(url), { until: (gone) => gone })
      yield* exitCode
      assert.notMatch(shown(), /npm error|npm ERR|exited/)
    }).pipe(Effect.provide(layer)),
  )
})
