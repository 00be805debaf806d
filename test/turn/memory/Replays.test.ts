import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { checkpointOf } from "../../../src/turn/memory/Checkpoint.ts"
import type { Lineage } from "../../../src/turn/memory/Lineage.ts"
import { plan } from "../../../src/turn/memory/Plan.ts"
import { digester, lineageFrom, type Policy } from "../../support/Chain.ts"

/** One client's requests as they were, with what the upstream had answered to each. */
interface Replay {
  readonly client: string
  readonly turns: ReadonlyArray<{
    readonly request: Readonly<Record<string, unknown>>
    readonly response: { readonly id: string; readonly output: ReadonlyArray<unknown> }
  }>
}

const load = (name: string): Replay =>
  JSON.parse(readFileSync(new URL(`../../replays/${name}.json`, import.meta.url), "utf8")) as Replay

const first = "no_checkpoint"

/** Per turn: the items that are sent of those there are, and why. */
const whole = {
  // The outputs of one call, of two calls, the next question.
  fourTurns: [`1 of 1: ${first}`, "1 of 4: continued", "2 of 10: continued", "1 of 13: continued"],
  withDeveloper: [`2 of 2: ${first}`, "1 of 5: continued", "2 of 11: continued", "1 of 14: continued"],
  codex: [`4 of 4: ${first}`, "1 of 8: continued", "2 of 13: continued", "1 of 16: continued"],
  // One reasoning item is left out after each call, and one before the final answer.
  withoutReasoning: [`2 of 2: ${first}`, "1 of 4: continued", "2 of 9: continued", "1 of 11: continued"],
}

const expected: Readonly<Record<string, Readonly<Record<Policy, ReadonlyArray<string>>>>> = {
  "openai-create": { lenient: whole.fourTurns, strict: whole.fourTurns },
  "openai-create-stream": { lenient: whole.fourTurns, strict: whole.fourTurns },
  "openai-responses-stream": { lenient: whole.fourTurns, strict: whole.fourTurns },
  agents: { lenient: whole.fourTurns, strict: whole.fourTurns },
  "agents-session": { lenient: whole.fourTurns, strict: whole.fourTurns },
  "ai-sdk-store": { lenient: whole.withDeveloper, strict: whole.withDeveloper },
  "ai-sdk-nostore": { lenient: whole.withDeveloper, strict: whole.withDeveloper },
  "effect3-ai": {
    lenient: whole.withoutReasoning,
    // Each answer had reasoning, which this client does not send back.
    strict: [`2 of 2: ${first}`, "4 of 4: history_changed", "9 of 9: history_changed", "11 of 11: history_changed"],
  },
  "codex-http": { lenient: whole.codex, strict: whole.codex },
  "openai-previous-response-id": {
    lenient: [`1 of 1: ${first}`, "1 of 1: client_chain", "2 of 2: client_chain", "1 of 1: client_chain"],
    strict: [`1 of 1: ${first}`, "1 of 1: client_chain", "2 of 2: client_chain", "1 of 1: client_chain"],
  },
}

const planned = (replay: Replay, policy: Policy): ReadonlyArray<string> => {
  let before: { readonly lineage: Lineage; readonly id: string; readonly output: ReadonlyArray<string> } | undefined
  return replay.turns.map(({ request, response }) => {
    const lineage = lineageFrom(JSON.stringify(request))
    const checkpoint =
      before === undefined ? undefined : checkpointOf(before.lineage, before.id, before.output, digester)
    const { fromItem, reason } = plan(lineage, checkpoint, policy)
    before = { lineage, id: response.id, output: response.output.map((item) => JSON.stringify(item)) }
    return `${lineage.items.length - fromItem} of ${lineage.items.length}: ${reason}`
  })
}

describe("recorded conversations", () => {
  for (const [name, plans] of Object.entries(expected)) {
    for (const policy of ["lenient", "strict"] as const) {
      it(`of ${name} are planned turn by turn (${policy})`, () => {
        assert.deepStrictEqual(planned(load(name), policy), [...plans[policy]])
      })
    }
  }

  it("hold no credentials", () => {
    for (const name of Object.keys(expected)) {
      assert.notMatch(JSON.stringify(load(name)), /"(?:authorization|cookie|x-api-key|api-key)"|bearer|sk-/i)
    }
  })
})
