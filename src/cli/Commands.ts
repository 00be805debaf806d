/**
 * The commands, with their arguments and what their help says.
 */
import { Command, Flag } from "effect/cli"
import packageJson from "../../package.json" with { type: "json" }
import { profileNames } from "../simulator/Profile.ts"
import { check, checkHelp } from "./check/Check.ts"
import { demo } from "./Demo.ts"
import { keys } from "./KeysCommand.ts"
import { serve } from "./Serve.ts"
import { runSimulator } from "./SimulatorProcess.ts"

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
  Command.withSubcommands([serve, checkCommand, demoCommand, keys, simulator]),
)

/** The command that the process was started with. */
export const commandLine = Command.run(respool, { version: packageJson.version })
