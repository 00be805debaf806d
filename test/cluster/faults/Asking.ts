/**
 * Streamed turns of a client, with what came of each and when.
 */
import { Effect } from "effect"
import { isArray, isObject } from "../../../src/simulator/JsonText.ts"
import { objectIn } from "../../support/Parsed.ts"
import type { Talk } from "../../support/Talk.ts"
import { messageOf } from "../../support/Talk.ts"

export interface Told {
  /** 0: the connection broke before the head. */
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Types of the events, in order. */
  readonly types: ReadonlyArray<string>
  readonly numbers: ReadonlyArray<number>
  /** `completed`; the error's code; or `broken`, where the answer broke off. */
  readonly end: string
  /** Of `performance.now()`. */
  readonly at: number
  readonly millis: number
}

export interface Asked {
  /** Once the answer holds this text, or has ended without. */
  readonly upTo: (mark: string) => Effect.Effect<void>
  readonly told: Effect.Effect<Told>
}

const eventsIn = (text: string) =>
  text.split("\n\n").flatMap((block) => {
    const data = /^data: (.*)$/m.exec(block)?.[1]
    const event = data === undefined ? undefined : objectIn(data)
    return event === undefined ? [] : [event]
  })

const codeIn = (text: string): string | undefined => {
  const error = objectIn(text)?.["error"]
  return isObject(error) && typeof error["code"] === "string" ? error["code"] : undefined
}

/** Posts a turn at once, with the whole history; what is completed becomes part of it. */
export const askAt = (base: string, talk: Talk, turn: number | string): Asked => {
  const began = performance.now()
  const message = messageOf(talk, turn)
  const seen = { text: "", over: false }
  const looks = new Set<() => void>()
  const look = () => looks.forEach((look) => look())
  const ended = (response: Response | undefined, broken: boolean): Told => {
    seen.over = true
    look()
    const events = eventsIn(seen.text)
    const last = events.at(-1)
    const isWhole = last?.["type"] === "response.completed"
    const end = isWhole
      ? "completed"
      : response !== undefined && response.status !== 200
        ? (codeIn(seen.text) ?? `status ${response.status}`)
        : last?.["type"] === "error"
          ? String(last["code"] ?? (isObject(last["error"]) ? last["error"]["code"] : "error"))
          : broken
            ? "broken"
            : String(last?.["type"] ?? "nothing")
    const finished = isObject(last?.["response"]) ? last["response"]["output"] : undefined
    if (isWhole && isArray(finished)) talk.history.push(message, ...finished.filter(isObject))
    const at = performance.now()
    return {
      status: response?.status ?? 0,
      headers: response?.headers ?? new Headers(),
      text: seen.text,
      types: events.map(({ type }) => String(type)),
      numbers: events.flatMap(({ sequence_number: number }) => (typeof number === "number" ? [number] : [])),
      end,
      at,
      millis: at - began,
    }
  }
  const run = async (): Promise<Told> => {
    let response: Response | undefined
    try {
      response = await fetch(`${base}/responses`, {
        method: "POST",
        // A connection of its own, so that none meets one that a process which was killed had kept.
        keepalive: false,
        headers: {
          ...talk.headers,
          authorization: "Bearer test-key-a",
          "content-type": "application/json",
        },
        body: JSON.stringify({
          model: "gpt-5.5",
          store: false,
          stream: true,
          input: [...talk.history, message],
        }),
      })
      const reader = response.body?.getReader()
      const decoder = new TextDecoder()
      for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
        seen.text += decoder.decode(part.value, { stream: true })
        look()
      }
      return ended(response, false)
    } catch {
      return ended(response, true)
    }
  }
  const told = run()
  return {
    upTo: (mark) =>
      Effect.callback<void>((resume) => {
        const check = () => {
          if (seen.over || seen.text.includes(mark)) resume(Effect.void)
        }
        looks.add(check)
        check()
        return Effect.sync(() => looks.delete(check))
      }),
    told: Effect.promise(() => told),
  }
}

export const nodeOf = ({ headers }: Told): string => headers.get("x-respool-node") ?? ""

export const inputOf = ({ headers }: Told): string => headers.get("x-respool-input") ?? ""
