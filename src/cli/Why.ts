/**
 * The command `why`: asks the running proxy how a turn travelled, and why it was sent as it was.
 */
import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { TurnEntry } from "../observe/live/TurnEntry.ts"
import { factsOf } from "../observe/live/Words.ts"
import { getAsOperator, layer, NotAnswered } from "./Running.ts"
import { settingFlags, withFlags } from "./SettingFlags.ts"
import { plain } from "./top/TopScreen.ts"

interface Told {
  readonly now: number
  readonly turns: ReadonlyArray<TurnEntry>
}

const written = (entry: TurnEntry, now: number): string => {
  const facts = factsOf(entry, now)
  const width = Math.max(...facts.map(([about]) => about.length))
  return facts.map(([about, fact]) => plain(`${about.padEnd(width)}  ${fact}`)).join("\n")
}

const asked = Effect.fnUntraced(function* (id: string, json: boolean) {
  const answer = yield* getAsOperator(`/_respool/turns?request=${encodeURIComponent(id)}`)
  const told = yield* Effect.mapError(
    answer.json,
    () => new NotAnswered({ message: "the proxy's answer is none of this version" }),
  )
  const { now, turns } = told as unknown as Told
  if (turns.length === 0) {
    return yield* new NotAnswered({
      message: `none of the last 1,000 turns has the id ${id} (a turn is known once it is over; x-request-id of the answer is its id)`,
    })
  }
  yield* Console.log(json ? JSON.stringify(turns) : turns.map((turn) => written(turn, now)).join("\n\n"))
})

export const why = Command.make(
  "why",
  {
    id: Argument.String("REQUEST_ID").pipe(Argument.withDescription("the answer's x-request-id, or the log's `turn`")),
    json: Flag.Boolean("json").pipe(Flag.withDescription("print a JSON array of turns"), Flag.withDefault(false)),
    settings: settingFlags,
  },
  ({ id, json, settings }) => withFlags(settings)(Effect.provide(asked(id, json), layer)),
).pipe(
  Command.withDescription(
    "Ask the proxy of these settings on this machine about one of its last 1,000 turns: how it travelled, what was sent of it, and why.",
  ),
  Command.withShortDescription("Say why a turn was sent as it was."),
)
