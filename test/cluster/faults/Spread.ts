/**
 * Conversations of ten turns over the nodes of a cluster, and how their turns travelled.
 */
import { Effect } from "effect"
import { ask, outputOf, way } from "../../support/Ask.ts"
import { messageOf, talksOf } from "../../support/Talk.ts"
import type { World } from "./World.ts"
import { must } from "./World.ts"

/** Their turns come in at any node. */
export const spread = Effect.fnUntraced(function* (world: World, conversations: number) {
  const seen = { turns: 0, later: 0, suffixes: 0, handed: 0 }
  const talks = talksOf(conversations)
  for (let turn = 0; turn < 10; turn++) {
    yield* Effect.forEach(
      talks,
      (talk) =>
        Effect.gen(function* () {
          const entry = world.random(3)
          const message = messageOf(talk, turn)
          const answer = yield* ask(`${world.at(entry).base}/responses`, {
            key: "test-key-a",
            headers: talk.headers,
            body: { model: "gpt-5.5", store: false, input: [...talk.history, message] },
          })
          yield* must(answer.status === 200, () => `${talk.session} was answered ${answer.status} ${answer.text}`)
          talk.history.push(message, ...outputOf(answer))
          seen.turns++
          if (answer.headers.get("x-respool-node") !== world.name(entry)) seen.handed++
          if (turn === 0) return
          seen.later++
          if (way(answer, "input")[0] === "suffix") seen.suffixes++
        }),
      { concurrency: 24, discard: true },
    )
  }
  return seen
})
