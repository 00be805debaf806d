/**
 * The command `why`: asks the running proxy how a turn travelled, and why it was sent as it was.
 */
import { Console, Effect } from "effect"
import type { TurnEntry } from "../observe/live/TurnEntry.ts"
import { factsOf } from "../observe/live/Words.ts"
import { getAsOperator, layer, NotAnswered } from "./Running.ts"
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

export const why = Effect.fnUntraced(function* ({ id, json }: { readonly id: string; readonly json: boolean }) {
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
}, Effect.provide(layer))
