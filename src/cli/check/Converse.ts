/**
 * Tries a conversation: a warm-up, for which nothing is generated, and one small turn that continues it.
 */
import { Effect } from "effect"
import type { Ended, Exchange } from "./Exchange.ts"
import * as Explain from "./Explain.ts"
import type { Outcome, OverSocket } from "./Report.ts"
import type { RunStep, Said } from "./Steps.ts"

const over = (how: OverSocket) => how

/** An upstream that does not know warm-ups generates no more than the few tokens either. */
export const converse = Effect.fnUntraced(function* (exchange: Exchange, model: string, codex: boolean, step: RunStep) {
  const message = (role: string, text: string) => ({ type: "message", role, content: [{ type: "input_text", text }] })
  const bound = codex ? { instructions: "Answer with one word." } : { max_output_tokens: 16 }
  const common = { type: "response.create", model, store: false, ...bound }
  const ended = (outcome: Outcome, ok: string) => ({
    ok: (end: Ended): Said =>
      end._tag === "Answered" ? ["ok", `${ok} (${model})`] : [outcome, Explain.notAnswered(end)],
    wrong: (never: never): Said => never,
  })
  const warmUp = yield* step(
    "warm-up",
    exchange.ask({ ...common, generate: false, input: [message("developer", "Answer with one word.")] }),
    ended("warn", "a request without an answer was prepared"),
  )
  if (warmUp === undefined || warmUp._tag === "Lost") return over("unusable")
  const anchor = warmUp._tag === "Answered" ? { previous_response_id: warmUp.id } : {}
  const turn = yield* step(
    "turn",
    exchange.ask({ ...common, ...anchor, input: [message("user", "Say ok.")] }),
    ended("FAIL", warmUp._tag === "Answered" ? "a turn continued it" : "a turn was answered"),
  )
  if (turn === undefined || turn._tag === "Lost" || Explain.isAnchorRefused(turn)) return over("unusable")
  if (turn._tag === "Refused") return over("refused")
  return over(warmUp._tag === "Answered" ? "continued" : "answered")
})
