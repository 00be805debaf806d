/**
 * Traces turns, where there is something to trace them with: without it a turn pays for one look.
 */
import { Context } from "effect"
import type { TurnRequest } from "../Executor.ts"
import type { TurnRecord } from "./TurnRecord.ts"

/** The trace of a turn that runs. */
export interface TurnTrace {
  /** What the upstream is told of the trace, as headers. */
  readonly headers: Readonly<Record<string, string>>
  readonly end: (record: TurnRecord) => void
}

/** Begins the trace of a turn; undefined: none is traced. */
export const Tracing = Context.Reference<((turn: TurnRequest) => TurnTrace) | undefined>("respool/turn/Tracing", {
  defaultValue: () => undefined,
})
