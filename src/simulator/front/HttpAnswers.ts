/**
 * Answers over HTTP: a turn as a stream of events or as one JSON object, whole, cut, or never ended.
 *
 * What was sent before an answer breaks is written to the network first; whether it is read is up to the client.
 */
import type { Fiber } from "effect"
import { Effect } from "effect"
import type { Frame } from "../Faults.ts"
import type { Sink } from "../turn/Play.ts"
import { isImmediate, play, playNow } from "../turn/Play.ts"
import type { Refusal } from "../Refusal.ts"
import { errorBody, errorEvent } from "../Refusal.ts"
import type { SimulatorState } from "../SimulatorState.ts"
import type { Runtime } from "./Sockets.ts"
import type { Turn } from "../turn/Turn.ts"

export const json = (body: string, status = 200, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(body, { status, headers: { "content-type": "application/json", ...headers } })

export const refused = (refusal: Refusal): Response => json(errorBody(refusal), refusal.status, refusal.headers)

const sse = (frame: Frame): string => `event: ${frame.event}\ndata: ${frame.data}\n\n`
const eventStream = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" }
const jsonBody = { "content-type": "application/json" }

/** The part that a client gets of a JSON answer that is cut or goes no further. */
const partOfResponse = `{"id":"resp_part","object":"response","status":"comp`

const nothing = (): void => undefined
const encoder = new TextEncoder()

export const makeHttpAnswers = (state: SimulatorState, runtime: Runtime) => {
  /** Breaks a stream once its bytes have been written. It breaks with `undefined`, since Bun would print a reason. */
  const breakOff = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
    const written = Effect.andThen(Effect.yieldNow, Effect.yieldNow)
    runtime.fork(Effect.map(written, () => controller.error(undefined)))
  }

  /**
   * A body that ends in the middle: the peer sees the connection break, even before the answer's head if there is no
   * text.
   */
  const cut = (text: string): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start: (controller) => {
        if (text !== "") controller.enqueue(encoder.encode(text))
      },
      pull: (controller) => (text === "" ? controller.error(undefined) : breakOff(controller)),
    })

  const endless = (text: string): ReadableStream<Uint8Array> =>
    new ReadableStream({ start: (controller) => controller.enqueue(encoder.encode(text)) })

  const playInto = (turn: Turn, sink: Sink, ended: () => void): Fiber.Fiber<void> | undefined => {
    if (isImmediate(turn, state.switches)) {
      playNow(turn, sink)
      ended()
      return undefined
    }
    const fiber = runtime.fork(play(state.switches, turn, sink, runtime.held))
    fiber.addObserver(ended)
    return fiber
  }

  const errorFrame = (refusal: Refusal, sent: number): string =>
    sse({ event: "error", data: errorEvent(refusal, sent), token: false })

  /** Settles when the answer's head is known: an error status if the turn fails before any frame, else the stream. */
  const streamed = (turn: Turn, signal: AbortSignal): Promise<Response> =>
    new Promise((resolve) => {
      const headers = { ...eventStream, ...turn.headers }
      let sent = 0
      let text = ""
      let controller: ReadableStreamDefaultController<Uint8Array> | undefined
      let broken = false
      let over = false
      const write = (chunk: string): void => {
        if (controller === undefined) text += chunk
        else controller.enqueue(encoder.encode(chunk))
      }
      const open = (): void => {
        if (controller !== undefined || isImmediate(turn, state.switches)) return
        const body = new ReadableStream<Uint8Array>({
          start: (started) => {
            controller = started
          },
          cancel: () => fiber?.interruptUnsafe(),
        })
        resolve(new Response(body, { headers }))
      }
      const fail = (): void => {
        broken = true
        if (controller === undefined) return resolve(new Response(cut(text), { headers }))
        breakOff(controller)
      }
      const sink: Sink = {
        send: (frame) => {
          if (over) return
          open()
          sent++
          write(sse(frame))
        },
        end: (step) => {
          if (step.refusal !== undefined && sent === 0) {
            over = true
            return resolve(refused(step.refusal))
          }
          open()
          write(step.refusal === undefined ? sse(step.frame) : errorFrame(step.refusal, sent))
        },
        extra: (frame) => {
          open()
          write(sse(frame))
        },
        text: (chunk) => {
          open()
          write(`data: ${chunk}\n\n`)
        },
        binary: nothing,
        close: fail,
        reset: fail,
        finish: nothing,
        stall: () => false,
      }
      const fiber = playInto(turn, sink, () => {
        if (over || broken) return
        over = true
        if (controller === undefined) return resolve(new Response(text, { headers }))
        try {
          controller.close()
        } catch {
          // The client has gone and taken the stream with it.
        }
      })
      signal.addEventListener("abort", () => fiber?.interruptUnsafe())
    })

  const whole = (turn: Turn, signal: AbortSignal): Promise<Response> =>
    new Promise((resolve) => {
      let sent = 0
      const part = () => (sent === 0 ? "" : partOfResponse)
      const fail = (): void => resolve(new Response(cut(part()), { headers: jsonBody }))
      const sink: Sink = {
        send: () => {
          sent++
        },
        end: (step) => resolve(step.refusal === undefined ? json(step.response ?? "") : refused(step.refusal)),
        extra: nothing,
        text: nothing,
        binary: nothing,
        close: fail,
        reset: fail,
        finish: () => resolve(json(part())),
        stall: () => {
          if (sent > 0) resolve(new Response(endless(partOfResponse), { headers: jsonBody }))
          return false
        },
      }
      const fiber = playInto(turn, sink, fail)
      signal.addEventListener("abort", () => fiber?.interruptUnsafe())
    })

  /** Ends the connection without an answer. */
  const none = (): Response => new Response(cut(""))

  return { streamed, whole, none }
}
