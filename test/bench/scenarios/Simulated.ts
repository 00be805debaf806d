/**
 * Turns against the simulator as the upstream, which counts tokens and what of them its prompt cache holds.
 */
import { Effect } from "effect"
import { program, start } from "../harness/Child.ts"

/** As a process of its own; gives where it is, without the path of the API. */
export const startSimulator = Effect.gen(function* () {
  const cwd = Bun.fileURLToPath(new URL("../", import.meta.url))
  const child = yield* start(program(new URL("../../../src/main.ts", import.meta.url), ["simulator"]), { cwd })
  return yield* child.printed(/^simulator (\S+)\/v1$/)
})

/** Turns without calls, whose first event comes after so long. */
export const configure = (simulator: string, modelMs: number): Promise<Response> =>
  fetch(`${simulator}/simulator/configure`, {
    method: "POST",
    body: JSON.stringify({ script: { rounds: 0 }, latency: modelMs }),
  })

export interface Item {
  readonly [member: string]: unknown
}

interface Usage {
  readonly input_tokens: number
  readonly input_tokens_details: { readonly cached_tokens: number }
}

export interface Answer {
  readonly output: ReadonlyArray<Item>
  readonly usage: Usage
  readonly firstMs: number
}

export const user = (content: string): Item => ({ role: "user", content })

/** Asks with the whole history, streamed, and notes when the first event came. */
export const ask = async (
  url: string,
  input: ReadonlyArray<Item>,
  { session, instructions }: { readonly session: string; readonly instructions?: string },
): Promise<Answer> => {
  const began = performance.now()
  const response = await fetch(`${url}/v1/responses`, {
    method: "POST",
    headers: { authorization: "Bearer bench", "content-type": "application/json", "session-id": session },
    body: JSON.stringify({
      model: "gpt-5.5",
      store: false,
      stream: true,
      include: ["reasoning.encrypted_content"],
      instructions,
      input,
    }),
  })
  let firstMs: number | undefined
  let text = ""
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    firstMs ??= performance.now() - began
    text += decoder.decode(chunk as Uint8Array, { stream: true })
  }
  const last = /^data: (\{"type":"response\.completed".*)$/m.exec(text)?.[1]
  if (last === undefined) throw new Error(`no answer: ${response.status} ${text.slice(0, 200)}`)
  const { output, usage } = (JSON.parse(last) as { readonly response: Answer }).response
  return { output, usage, firstMs: firstMs ?? 0 }
}

/** The simulator's counters. */
export const counted = async (simulator: string) =>
  (await (await fetch(`${simulator}/simulator/stats`)).json()) as {
    readonly upgrades: number
    readonly uplinkBytes: number
  }

/** Of all input tokens those that came from the cache, in percent. */
export const cachedShare = (answers: ReadonlyArray<Answer>): number => {
  const sum = (of: (usage: Usage) => number) => answers.reduce((total, { usage }) => total + of(usage), 0)
  return (100 * sum((usage) => usage.input_tokens_details.cached_tokens)) / sum((usage) => usage.input_tokens)
}
