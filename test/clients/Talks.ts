/**
 * The conversations of clients that open a WebSocket themselves, named as data, so that another program can hold them.
 */
import type { Mode } from "./OpenAiSdkTalk.ts"
import { onLanes, onOneSocket } from "./OpenAiSdkTalk.ts"
import type { Memory } from "./OpenAiAgentsTalk.ts"
import { encrypted, runs } from "./OpenAiAgentsTalk.ts"

export type Talk =
  | { readonly client: "openai"; readonly mode: Mode; readonly store: boolean }
  | { readonly client: "openai lanes"; readonly mode: Mode }
  | { readonly client: "agents"; readonly memory: Memory; readonly stream: boolean }

/** Holds the conversation with the upstream at an address, and gives all that the client was told. */
export const talkOf = (talk: Talk): ((baseURL: string) => Promise<unknown>) => {
  switch (talk.client) {
    case "openai":
      return onOneSocket(talk.mode, talk.store)
    case "openai lanes":
      return onLanes(talk.mode)
    case "agents":
      return runs({ ...talk, socket: true, modelSettings: { ...encrypted, store: false } })
  }
}
