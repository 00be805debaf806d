/**
 * The commands, with their arguments and what their help says.
 */
import { Console, Effect, Stdio } from "effect"
import { CliOutput, Command, Flag } from "effect/cli"
import packageJson from "../../package.json" with { type: "json" }
import { profileNames } from "../simulator/Profile.ts"
import { check, checkHelp } from "./check/Check.ts"
import { demo } from "./Demo.ts"
import { health } from "./Health.ts"
import { settingFlags, withFlags } from "./SettingFlags.ts"
import { keys } from "./KeysCommand.ts"
import { serve } from "./Serve.ts"
import { runSimulator } from "./SimulatorProcess.ts"
import { top } from "./Top.ts"
import { why } from "./Why.ts"

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
  check,
).pipe(
  Command.withDescription(checkHelp),
  Command.withShortDescription("Say whether the configured upstream is reached, and what to change."),
)

const healthCommand = Command.make("health", settingFlags, (given) => withFlags(given)(health)).pipe(
  Command.withDescription(
    "Ask the proxy of these settings on this machine whether it takes turns. The exit code is 0 if it does, else 1.",
  ),
  Command.withShortDescription("Ask the running proxy whether it takes turns."),
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
  ({ port, profile }) => runSimulator({ port, profile }),
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
