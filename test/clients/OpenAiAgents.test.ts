import { describe, it } from "@effect/vitest"
import { leftOut, saying } from "../support/ByName.ts"
import { continues, continuesOnSocket } from "./Continues.ts"
import { onNode } from "./OnNode.ts"
import { encrypted, runs } from "./OpenAiAgentsTalk.ts"
import { talkOf } from "./Talks.ts"

const onSockets = (["history", "session", "previousResponseId"] as const).flatMap((memory) =>
  [true, false].map((stream) => ({ client: "agents", memory, stream }) as const),
)

const why = leftOut(import.meta.url, "it starts Node")

describe("the OpenAI Agents SDK", () => {
  it.effect("continues over several runs that take the history along", () =>
    continues(runs({ memory: "history", stream: false, modelSettings: encrypted })),
  )

  it.effect("continues over several streamed runs with store: false", () =>
    continues(runs({ memory: "history", stream: true, modelSettings: { ...encrypted, store: false } })),
  )

  it.effect("continues over several runs with a session", () =>
    continues(runs({ memory: "session", stream: false, modelSettings: encrypted })),
  )

  it.effect("continues over several streamed runs with a session", () =>
    continues(runs({ memory: "session", stream: true })),
  )

  it.effect("continues without the ids of reasoning", () =>
    continues(runs({ memory: "history", stream: true, omitIds: true, modelSettings: encrypted })),
  )

  it.effect("continues its own previous_response_id", () =>
    continues(runs({ memory: "previousResponseId", stream: true })),
  )

  for (const talk of onSockets) {
    const what = `with ${talk.memory} on a WebSocket of its own${talk.stream ? ", streamed" : ""}`

    it.effect(`continues ${what}`, () => continuesOnSocket(talkOf(talk)))

    it.effect.skipIf(why !== undefined)(`continues ${what}, on Node${saying(why)}`, () =>
      continuesOnSocket(onNode(talk)),
    )
  }
})
