/**
 * The command line as processes of their own, each ended with the scope that started it.
 */
import { Effect, FileSystem } from "effect"
import { fileURLToPath } from "node:url"
import { Simulator } from "../../src/simulator/Simulator.ts"
import * as Child from "./Child.ts"

/** The file that test/support/Bundle.ts made, or the sources where it did not run. */
export const { BUNDLED_MAIN: main = fileURLToPath(new URL("../../src/main.ts", import.meta.url)) } = process.env

interface Running {
  readonly pid: number
  /** What was written so far. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** Waits for text on the standard output; gives what the first group matched. Dies if the process ends without it. */
  readonly printed: (pattern: RegExp) => Effect.Effect<string>
  /** The same for the standard error. */
  readonly logged: (pattern: RegExp) => Effect.Effect<string>
  /** Waits for the end. */
  readonly exitCode: Effect.Effect<number>
  readonly signal: (name: "SIGTERM" | "SIGINT") => Effect.Effect<void>
}

interface CommandOptions {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** A program, with no environment but `env`. */
export const startProgram = Effect.fnUntraced(function* (
  command: ReadonlyArray<string>,
  { cwd, env = {} }: CommandOptions,
) {
  const child = yield* Child.spawn(command, { cwd, env })
  const written = { stdout: "", stderr: "" }
  const looking = new Set<() => void>()
  const collect = async (name: "stdout" | "stderr") => {
    const decoder = new TextDecoder()
    for await (const chunk of child[name]) {
      written[name] += decoder.decode(chunk, { stream: true })
      for (const look of looking) look()
    }
  }
  const output = Promise.all([collect("stdout"), collect("stderr")])
  const seen = (name: "stdout" | "stderr") => (pattern: RegExp) =>
    Effect.callback<string>((resume) => {
      const look = () => {
        const found = pattern.exec(written[name])
        if (found !== null) resume(Effect.succeed(found[1] ?? found[0]))
      }
      looking.add(look)
      look()
      void output.then(() =>
        resume(Effect.die(new Error(`ended without ${pattern}: ${written.stdout}${written.stderr}`))),
      )
      return Effect.sync(() => looking.delete(look))
    })
  const running: Running = {
    pid: child.pid,
    stdout: () => written.stdout,
    stderr: () => written.stderr,
    printed: seen("stdout"),
    logged: seen("stderr"),
    exitCode: Effect.promise(async () => {
      await output
      return await child.exited
    }),
    signal: (name) => Effect.sync(() => child.kill(name)),
  }
  return running
})

/** `respool ...args` in `cwd`, with no settings but those of `env`. */
export const start = (args: ReadonlyArray<string>, { cwd, env }: CommandOptions) =>
  startProgram([process.execPath, main, ...args], { cwd, env: { HOME: cwd, ...env } })

/** Runs to the end. */
export const run = (args: ReadonlyArray<string>, { cwd, env }: CommandOptions) =>
  Child.run([process.execPath, main, ...args], { cwd, env: { HOME: cwd, ...env } })

/** A folder for the working folder of a command, for as long as the scope. */
export const folder = Effect.flatMap(FileSystem.FileSystem, (fs) =>
  fs.makeTempDirectoryScoped({ prefix: "respool-command-" }),
)

export const address = /^OPENAI_BASE_URL=(http:\/\/127\.0\.0\.1:\d+\/v1)$/m

/** `respool serve` on any free port in front of the simulator, up and with its base URL. */
export const serve = Effect.fnUntraced(function* (env: Readonly<Record<string, string>> = {}) {
  const { url: upstream } = yield* Simulator
  const running = yield* start(["serve"], {
    cwd: yield* folder,
    env: { RESPOOL_PORT: "0", RESPOOL_UPSTREAM_URL: upstream, ...env },
  })
  return { ...running, upstream, url: yield* running.printed(address) }
})
