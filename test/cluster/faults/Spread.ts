/**
 * Conversations of ten turns over the nodes of a cluster, and how their turns travelled.
 */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { ask, outputOf, way } from "../../support/Ask.ts"
import { messageOf, talksOf } from "../../support/Talk.ts"
import type { World } from "./World.ts"
import { must } from "./World.ts"

/** Which node a balancer brings a turn to. */
const balancers = {
  /** Any. */
  none: (world: World, _session: string) => world.random(3),
  /** The same for all turns of a session, by a hash of its own. */
  hash: (_world: World, session: string) => createHash("md5").update(session).digest().readUInt32BE(0) % 3,
}
export type Balancer = keyof typeof balancers

export const spread = Effect.fnUntraced(function* (world: World, conversations: number, balancer: Balancer = "none") {
  const seen = { turns: 0, later: 0, suffixes: 0, handed: 0 }
  const talks = talksOf(conversations, `session-${balancer}`)
  for (let turn = 0; turn < 10; turn++) {
    yield* Effect.forEach(
      talks,
      (talk) =>
        Effect.gen(function* () {
          const entry = balancers[balancer](world, talk.session)
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
