/**
 * The life of the process: what a command runs on, what ends it, and with which exit code and last words.
 */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import { env } from "node:process"
import { isAnother } from "./Signals.ts"
import { Cause, Console, Effect, Exit, Layer, Predicate, Runtime } from "effect"

const platform = Layer.mergeAll(NodeStdio.layer, NodeTerminal.layer, NodeChildProcessSpawner.layer).pipe(
  Layer.provideMerge(Layer.merge(NodeFileSystem.layer, NodePath.layer)),
)

/** Errors that the user can mend: each is shown as one line. Only an unexpected one shows its trace. */
const userErrors = new Set([
  "SettingsError",
  "ServeError",
  "KeysFileError",
  "DemoError",
  "SimulatorError",
  "NotAnswered",
])

const report = (cause: Cause.Cause<unknown>) => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.void
  const error = Cause.squash(cause)
  if (!Predicate.hasProperty(error, "_tag") || !(error instanceof Error)) return Effect.logError(cause)
  if (userErrors.has(String(error._tag))) return Console.error(`respool: ${error.message}`)
  return Runtime.getErrorReported(error) ? Effect.logError(cause) : Effect.void
}

/** Being told to stop is no failure: the exit code is 0 once everything has been closed. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? onExit(0) : Runtime.defaultTeardown(exit, onExit)

/** By the shells' convention: 128 and the signal's number. */
const endedBy = { SIGINT: 130, SIGTERM: 143 } as const

/** Whether npm or `bun run` runs this, and so a shell or a process of theirs is the parent. */
const isRunByScript = env["npm_command"] === "exec" || env["npm_lifecycle_event"] !== undefined

/** The first signal closes everything in order, however long that may take; the second, of either kind, does not wait. */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let told: number | undefined
  const listeners = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    const tell = () => {
      if (told !== undefined && isAnother(performance.now() - told, isRunByScript)) process.exit(endedBy[signal])
      told ??= performance.now()
      fiber.interruptUnsafe(fiber.id)
    }
    process.on(signal, tell)
    return () => process.off(signal, tell)
  })
  fiber.addObserver((exit) => {
    for (const stopListening of listeners) stopListening()
    teardown(exit, (code) => {
      // A command that ran to its end may still be writing.
      if (told !== undefined || code !== 0) process.exit(code)
    })
  })
})

/**
 * Ends, as if this were told to stop, when the parent has. npm passes a signal on to the shell that it runs a command in,
 * and that shell ends without a word to its command: `npx respool serve` would go on alone.
 */
const orphaned = Effect.suspend(() => {
  const parent = process.ppid
  return Effect.sleep("500 millis").pipe(
    Effect.repeat({ until: () => process.ppid !== parent }),
    Effect.andThen(Effect.interrupt),
  )
})

/** Runs a command to its end, which is the end of the process as well. */
export const run = <E>(command: Effect.Effect<void, E, Layer.Success<typeof platform>>) =>
  (isRunByScript ? Effect.raceFirst(command, orphaned) : command).pipe(
    Effect.provide(platform),
    Effect.tapCause(report),
    runMain({ disableErrorReporting: true, teardown }),
  )
