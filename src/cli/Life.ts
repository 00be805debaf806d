/**
 * The life of the process: what a command runs on, what ends it, and with which exit code and last words.
 */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import { env } from "node:process"
import { Cause, Console, Effect, Exit, Layer, Predicate, Runtime } from "effect"

const platform = Layer.mergeAll(NodeStdio.layer, NodeTerminal.layer, NodeChildProcessSpawner.layer).pipe(
  Layer.provideMerge(Layer.merge(NodeFileSystem.layer, NodePath.layer)),
)

/** Errors that the user can mend: each is shown as one line. Only an unexpected one shows its trace. */
const userErrors = new Set(["SettingsError", "ServeError", "KeysFileError", "DemoError", "SimulatorError"])

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

/** The first signal closes everything in order, however long that may take; the second, of either kind, does not wait. */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let told = false
  const listeners = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    const tell = () => {
      if (told) process.exit(endedBy[signal])
      told = true
      fiber.interruptUnsafe(fiber.id)
    }
    process.on(signal, tell)
    return () => process.off(signal, tell)
  })
  fiber.addObserver((exit) => {
    for (const stopListening of listeners) stopListening()
    teardown(exit, (code) => {
      // A command that ran to its end may still be writing.
      if (told || code !== 0) process.exit(code)
    })
  })
})

/** Whether npm runs this, and so a shell of npm's is the parent. */
const isRunByNpm = env["npm_command"] === "exec" || env["npm_lifecycle_event"] !== undefined

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
  (isRunByNpm ? Effect.raceFirst(command, orphaned) : command).pipe(
    Effect.provide(platform),
    Effect.tapCause(report),
    runMain({ disableErrorReporting: true, teardown }),
  )
