/**
 * The commands, with their arguments and what their help says. What a command does is loaded when it is asked for: a proxy
 * that runs for weeks holds no demo, no examination and no simulator in memory.
 */
import { Console, Effect, Stdio } from "effect"
import { Argument, CliOutput, Command, Flag } from "effect/cli"
import packageJson from "../../package.json" with { type: "json" }
import { environmentName, rows } from "../config/Settings.ts"
import { profileNames } from "../simulator/Profile.ts"
import { settingFlags, withFlags } from "./SettingFlags.ts"
import { keys } from "./KeysCommand.ts"

/** A command's module, which is evaluated only now. */
const loaded = <A, B, E, R>(load: () => Promise<A>, use: (module: A) => Effect.Effect<B, E, R>) =>
  Effect.flatMap(Effect.promise(load), use)

const settingsHelp = Object.entries(rows)
  .map(([name, { about, allowed, shown }]) => {
    const fallback = shown === "" ? "not set" : shown
    return `  ${environmentName(name)} (${fallback})\n      ${about}; ${allowed}`
  })
  .join("\n")

const serve = Command.make("serve", settingFlags, (given) =>
  withFlags(given)(
    loaded(
      () => import("./Serve.ts"),
      ({ serve }) => serve,
    ),
  ),
).pipe(
  Command.withDescription(
    [
      "Run the proxy against the configured upstream.",
      "Settings come from flags (--upstream-url), else from the environment, else from respool.json in the working folder",
      "(or where RESPOOL_CONFIG says), there in camelCase and without the prefix (upstreamUrl). Secrets have no flag.",
      "Name, default, meaning and what is allowed:",
      settingsHelp,
    ].join("\n"),
  ),
  Command.withShortDescription("Run the proxy against the configured upstream."),
)

const demoCommand = Command.make(
  "demo",
  {
    json: Flag.Boolean("json").pipe(Flag.withDescription("print one JSON object"), Flag.withDefault(false)),
    keep: Flag.Boolean("keep").pipe(Flag.withDescription("leave the server up at the end"), Flag.withDefault(false)),
  },
  (options) =>
    loaded(
      () => import("./Demo.ts"),
      ({ demo }) => demo(options),
    ),
).pipe(
  Command.withDescription("Run a 20-turn agent through the proxy against the simulator, and once without the proxy."),
)

const checkHelp = [
  "Look at each configured upstream step by step: its name, the way there, TLS, the upgrade, the credential, GET /models,",
  "a warm-up and a turn that continues it. The turn is one small paid request (at most 16 tokens of output), which",
  "--no-turn leaves out. The key is the upstream's own, else RESPOOL_UPSTREAM_API_KEY, else OPENAI_API_KEY. The exit code is 0 where turns go over",
  "WebSocket, 1 where they do not work or could not be tried (or a node of a cluster does not answer), 2 where only HTTP works.",
].join("\n")

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
  (options) =>
    loaded(
      () => import("./check/Check.ts"),
      ({ check }) => check(options),
    ),
).pipe(
  Command.withDescription(checkHelp),
  Command.withShortDescription("Say whether the configured upstream is reached, and what to change."),
)

const healthCommand = Command.make("health", settingFlags, (given) =>
  withFlags(given)(
    loaded(
      () => import("./Health.ts"),
      ({ health }) => health,
    ),
  ),
).pipe(
  Command.withDescription(
    "Ask the proxy of these settings on this machine whether it takes turns. The exit code is 0 if it does, else 1.",
  ),
  Command.withShortDescription("Ask the running proxy whether it takes turns."),
)

const top = Command.make(
  "top",
  {
    once: Flag.Boolean("once").pipe(Flag.withDescription("print one frame"), Flag.withDefault(false)),
    settings: settingFlags,
  },
  ({ settings, ...options }) =>
    withFlags(settings)(
      loaded(
        () => import("./Top.ts"),
        ({ top }) => top(options),
      ),
    ),
).pipe(
  Command.withDescription(
    "Show what goes on in the proxy of these settings on this machine: turns, connections, the last hour; what its page at /_respool/ shows.",
  ),
  Command.withShortDescription("Show what goes on in the running proxy."),
)

const why = Command.make(
  "why",
  {
    id: Argument.String("REQUEST_ID").pipe(Argument.withDescription("the answer's x-request-id, or the log's `turn`")),
    json: Flag.Boolean("json").pipe(Flag.withDescription("print a JSON array of turns"), Flag.withDefault(false)),
    settings: settingFlags,
  },
  ({ settings, ...options }) =>
    withFlags(settings)(
      loaded(
        () => import("./Why.ts"),
        ({ why }) => why(options),
      ),
    ),
).pipe(
  Command.withDescription(
    "Ask the proxy of these settings on this machine about one of its last 1,000 turns: how it travelled, what was sent of it, and why.",
  ),
  Command.withShortDescription("Say why a turn was sent as it was."),
)

const simulator = Command.make(
  "simulator",
  {
    port: Flag.Int("port").pipe(Flag.withDescription("0 takes any free port"), Flag.withDefault(0)),
    profile: Flag.Literals("profile", profileNames).pipe(
      Flag.withDescription("the upstream that it behaves as"),
      Flag.withDefault("openai"),
    ),
  },
  (options) =>
    loaded(
      () => import("./SimulatorProcess.ts"),
      ({ runSimulator }) => runSimulator(options),
    ),
).pipe(Command.withDescription("Run a strict Responses upstream on loopback, for trying things out."))

const respool = Command.make("respool").pipe(
  Command.withDescription("A WebSocket connection pool in front of the OpenAI Responses API."),
  Command.withSubcommands([serve, checkCommand, healthCommand, top, why, demoCommand, keys, simulator]),
)

/** What is typed wrong is one line. The help is where it says. */
const presenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(
          `respool: ${event.errors.map(({ message }) => message.replaceAll(/\s*\n\s*/g, " ")).join("; ")} (\`${event.commandPath.join(" ")} --help\` says what there is)`,
        )
      : CliOutput.defaultPresenter.present(event),
})

/** `help` and `help COMMAND` are what people try before `--help`. */
const asked = ([first, ...rest]: ReadonlyArray<string>): ReadonlyArray<string> =>
  first === "help"
    ? [...rest.filter((word) => word !== "--help"), "--help"]
    : first === undefined
      ? ["--help"]
      : [first, ...rest]

/** The command that the process was started with. */
export const commandLine = Effect.gen(function* () {
  const args = yield* Effect.flatMap(Stdio.Stdio, ({ args }) => args)
  return yield* Command.runWith(respool, { version: packageJson.version })(asked(args))
}).pipe(Effect.provide(presenter))
