/**
 * What may become of a turn that a program asks of its own engine: the faults after which an SDK must send nothing again,
 * at each frame of an answer, streamed and not, under both ways to retry.
 */
import type { Cell } from "./FaultKinds.ts"
import { kinds } from "./FaultKinds.ts"
import { afterTerminal } from "./Faulty.ts"

/** Those after which nobody can know whether the turn ran, and those that harm nothing. Time alone ends the silent ones. */
const outcomes = kinds.filter(({ full, mayHaveRun, silent }) => (mayHaveRun || full === "answer") && silent !== true)

const places = Array.from({ length: afterTerminal + 1 }, (_, at) => at)

export const outcomeCells: ReadonlyArray<Cell> = outcomes.flatMap((kind) =>
  (kind.placed ? places : [0]).flatMap((at) =>
    [true, false].flatMap((stream) =>
      [true, false].map((strict): Cell => ({ kind, at, stream, strict, later: false, http: false, twice: false })),
    ),
  ),
)

export const nameOf = ({ at, kind, stream, strict }: Cell) =>
  `${kind.name} before frame ${at}, ${stream ? "streamed" : "as JSON"}, ${strict ? "strict" : "standard"}`
