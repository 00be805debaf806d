#!/usr/bin/env bun
/**
 * The command line: it names the commands and launches them.
 */
import * as NodeChildProcessSpawner from "@effect/platform-node-shared/NodeChildProcessSpawner"
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import * as NodeStdio from "@effect/platform-node-shared/NodeStdio"
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal"
import { Cause, Console, Duration, Effect, Exit, Layer, Option, Predicate, Queue, Redacted, Runtime } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { HttpServer } from "effect/http"
import packageJson from "../package.json" with { type: "json" }
import { demo } from "./cli/Demo.ts"
import { check, checkHelp } from "./cli/check/Check.ts"
import { addKey } from "./downstream/auth/Keys.ts"
import { redactorOf } from "./turn/Redaction.ts"
import { Turns } from "./turn/Turns.ts"
import * as Logging from "./cli/Logging.ts"
import { Reload } from "./Reload.ts"
import * as Server from "./Server.ts"
import { environmentName, rows, Settings } from "./config/Settings.ts"
import { profileNames } from "./simulator/Profile.ts"
import { runSimulator } from "./cli/SimulatorProcess.ts"

const settingsHelp = Object.entries(rows)
  .map(([name, { about, allowed, shown }]) => {
    const fallback = shown === "" ? "not set" : shown
    return `  ${environmentName(name)} (${fallback})\n      ${about}; ${allowed}`
  })
  .join("\n")

const banner = Effect.gen(function* () {
  const { auth, listenTls, upstreams } = yield* Settings
  const plain = yield* HttpServer.addressFormattedWith(Effect.succeed)
  const address = listenTls === undefined ? plain : plain.replace(/^http:/, "https:")
  const [{ transport, url }, ...others] = upstreams
  yield* Console.log(`respool ${packageJson.version} for ${url} (transport ${transport}, auth ${auth})`)
  for (const { models, transport, url } of others) {
    yield* Console.log(`  ${models.join(", ")}: ${url} (transport ${transport})`)
  }
  yield* Console.log(`OPENAI_BASE_URL=${address}/v1`)
})

/** Said when the process was told to stop, before anything closes. */
const sayDraining = Effect.gen(function* () {
  const { drainTimeout } = yield* Settings
  const running = yield* Effect.flatMap(Turns, (turns) => turns.running)
  const turns = `${running} ${running === 1 ? "turn" : "turns"}`
  const atMost = Duration.format(Duration.millis(drainTimeout))
  yield* Effect.logInfo(`draining ${turns} for at most ${atMost}; a second signal stops at once`)
})

/** As daemons do: a hangup is no end, it asks to read the settings again. */
const layerHangup = Layer.effectDiscard(
  Effect.gen(function* () {
    const reload = yield* Reload
    const hangups = yield* Queue.sliding<void>(1)
    const hungUp = () => void Queue.offerUnsafe(hangups, undefined)
    yield* Effect.acquireRelease(
      Effect.sync(() => process.on("SIGHUP", hungUp)),
      () => Effect.sync(() => process.off("SIGHUP", hungUp)),
    )
    yield* Queue.take(hangups).pipe(Effect.andThen(reload.now), Effect.forever, Effect.forkScoped)
  }),
)

const layerServed = layerHangup.pipe(
  Layer.provide(Reload.layer),
  Layer.provideMerge(Server.layer),
  Layer.provideMerge(Logging.layer),
  Layer.provideMerge(Settings.layerConfig),
)

const serve = Command.make("serve", {}, () =>
  Effect.andThen(banner, Effect.never).pipe(
    Effect.onInterrupt(() => sayDraining),
    Effect.provide(layerServed),
  ),
).pipe(
  Command.withDescription(
    [
      "Run the proxy against the configured upstream.",
      "Settings come from the environment or, below it, from respool.json in the working folder (or where RESPOOL_CONFIG",
      "says), there in camelCase and without the prefix (upstreamUrl). Name, default, meaning and what is allowed:",
      settingsHelp,
    ].join("\n"),
  ),
  Command.withShortDescription("Run the proxy against the configured upstream."),
)

const addCommand = Command.make(
  "add",
  {
    name: Argument.String("name").pipe(Argument.withDescription("for people and logs")),
    user: Flag.String("user").pipe(
      Flag.withDescription("whose key it is; a user's keys share sessions"),
      Flag.optional,
    ),
  },
  Effect.fnUntraced(function* ({ name, user }) {
    const { keysFile } = yield* Settings
    const { record, secret } = yield* addKey({ path: keysFile, name, user: Option.getOrUndefined(user) })
    yield* Console.error(`Key ${record.id} is in ${keysFile}. It is shown this once:`)
    yield* Console.log(Redacted.value(secret))
  }, Effect.provide(Settings.layerConfigUnchecked)),
).pipe(Command.withDescription("Make a key for RESPOOL_AUTH=keys, print it once and store its hash."))

const keys = Command.make("keys").pipe(
  Command.withDescription("The keys that the proxy gives out."),
  Command.withSubcommands([addCommand]),
)

const demoCommand = Command.make(
  "demo",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("print one JSON object"), Flag.withDefault(false)),
    keep: Flag.Boolean("keep").pipe(Flag.withDescription("leave the server up at the end"), Flag.withDefault(false)),
  },
  demo,
).pipe(
  Command.withDescription("Run a 20-turn agent through the proxy against the simulator, and once without the proxy."),
)

const checkCommand = Command.make(
  "check",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("print one JSON object"), Flag.withDefault(false)),
    model: Flag.String("model").pipe(
      Flag.withDescription("for the turn; else the first that the upstream lists"),
      Flag.optional,
    ),
    turn: Flag.Boolean("turn").pipe(
      Flag.withDescription("try a turn, which is paid; the default, --no-turn leaves it out"),
      Flag.withDefault(true),
    ),
  },
  (options) => check({ ...options, strikeOf: redactorOf }),
).pipe(
  Command.withDescription(checkHelp),
  Command.withShortDescription("Say whether the configured upstream is reached, and what to change."),
)

const simulator = Command.make(
  "simulator",
  {
    port: Flag.Int("port").pipe(Flag.withDescription("0 takes any free port"), Flag.withDefault(0)),
    profile: Flag.Literals("profile", profileNames).pipe(
      Flag.withDescription("whose rules it keeps"),
      Flag.withDefault("openai"),
    ),
  },
  ({ port, profile }) => runSimulator({ port, profile }),
).pipe(Command.withDescription("Run a strict Responses upstream on loopback, for trying things out."))

const respool = Command.make("respool").pipe(
  Command.withDescription("A WebSocket connection pool in front of the OpenAI Responses API."),
  Command.withSubcommands([serve, checkCommand, demoCommand, keys, simulator]),
)

const platform = Layer.mergeAll(NodeStdio.layer, NodeTerminal.layer, NodeChildProcessSpawner.layer).pipe(
  Layer.provideMerge(Layer.merge(NodeFileSystem.layer, NodePath.layer)),
)

/** What the user can mend is one line; only the unexpected shows its trace. */
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

respool.pipe(
  Command.run({ version: packageJson.version }),
  Effect.provide(platform),
  Effect.tapCause(report),
  runMain({ disableErrorReporting: true, teardown }),
)
