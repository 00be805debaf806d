/**
 * The steps of an examination: each runs, ends in time, and is noted with what is said of it.
 */
import type { Effect, Scope } from "effect"
import type { HttpClient } from "effect/http"
import type { Dialer } from "../../upstream/dialer/Dialer.ts"
import type { Reach } from "./Reach.ts"
import type { Outcome, Step } from "./Report.ts"

export type Said = readonly [outcome: Outcome, message: string]

/** What steps may need. */
export type Exam = Dialer | HttpClient.HttpClient | Reach | Scope.Scope

/** Runs a step and says how it went; undefined: it failed, or took too long. */
export type RunStep = <A, E>(
  name: Step["name"],
  run: Effect.Effect<A, E, Exam>,
  say: { readonly ok: (value: A) => Said; readonly wrong: (error: E) => Said },
) => Effect.Effect<A | undefined, never, Exam>

/** Notes a step that was not run here, or took no time. */
export type Note = (name: Step["name"], ms: number, said: Said) => void

export const fail = (message: string): Said => ["FAIL", message]
