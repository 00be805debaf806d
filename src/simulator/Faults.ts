/**
 * Turns what a turn would send into what it does send: the one place where faults are applied.
 *
 * Faults are data. A fault's `at` is the index of the frame it comes before; an absent `at` is the terminal frame, an
 * `at` beyond the terminal frame comes after it.
 */
import type { Refusal } from "./Refusal.ts"
import { envelope, errorEvent } from "./Refusal.ts"

export type Fault =
  /** Ends the socket with a close frame (over HTTP: cuts the answer). */
  | { readonly _tag: "Close"; readonly at?: number; readonly code: number; readonly reason?: string }
  /** Ends the socket without a close frame (over HTTP: cuts the answer). */
  | { readonly _tag: "Reset"; readonly at?: number }
  /** Sends nothing more; the socket stays open. */
  | { readonly _tag: "Stall"; readonly at?: number }
  /** Waits until `release`. */
  | { readonly _tag: "Hold"; readonly at?: number }
  /** Waits that many milliseconds. */
  | { readonly _tag: "Delay"; readonly at?: number; readonly millis: number }
  /** Ends the turn with an error: an envelope, or the flat event where `flat`. Over HTTP before any frame: the status. */
  | {
      readonly _tag: "Error"
      readonly at?: number
      readonly status: number
      readonly code: string | null
      readonly message: string
      readonly type?: string
      readonly param?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly flat?: boolean
      /** Leaves `status` out of the envelope. */
      readonly withoutStatus?: boolean
    }
  /** A text frame that is no JSON. */
  | { readonly _tag: "InvalidJson"; readonly at?: number }
  | { readonly _tag: "BinaryFrame"; readonly at?: number }
  /** A frame of its own text at any place; where `text` is absent, an event of another response. */
  | { readonly _tag: "ExtraFrame"; readonly at?: number; readonly text?: string }
  | { readonly _tag: "DuplicateTerminal" }
  | { readonly _tag: "TerminalWithoutId" }
  /** Ends the turn with `response.failed`. */
  | { readonly _tag: "Failed"; readonly at?: number; readonly code: string; readonly message: string }
  /** Ends the turn with `response.incomplete`. */
  | { readonly _tag: "Incomplete"; readonly at?: number; readonly reason: string }

export interface Frame {
  /** The event's type. */
  readonly event: string
  readonly data: string
  /** Counts as one token when the answer is paced. */
  readonly token: boolean
}

export type EndStatus = "completed" | "failed" | "incomplete" | "error"

export type Step =
  | { readonly _tag: "Send"; readonly frame: Frame }
  /** The terminal frame: the turn's end is recorded right before it is sent. */
  | {
      readonly _tag: "End"
      readonly frame: Frame
      readonly status: EndStatus
      /** The response object inside the frame; undefined for an error. */
      readonly response: string | undefined
      readonly refusal: Refusal | undefined
    }
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Binary" }
  | { readonly _tag: "Close"; readonly code: number; readonly reason: string }
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Stall" }
  | { readonly _tag: "Hold" }
  | { readonly _tag: "Delay"; readonly millis: number }

export interface Ended {
  readonly frame: Frame
  readonly response: string
}

/** What a turn would send: its frames before the end, and every end it may come to. */
export interface Performance {
  readonly frames: ReadonlyArray<Frame>
  readonly status: "completed" | "failed" | "incomplete"
  readonly terminal: Ended
  readonly withoutId: () => Ended
  readonly failed: (code: string, message: string, sent: number) => Ended
  readonly incomplete: (reason: string, sent: number) => Ended
  readonly streamId: string | undefined
}

const stray = JSON.stringify({
  type: "response.output_text.delta",
  sequence_number: 99,
  item_id: "msg_stray",
  output_index: 0,
  content_index: 0,
  delta: "stray",
})

const errorStep = (fault: Extract<Fault, { readonly _tag: "Error" }>, sent: number, streamId?: string): Step => {
  const refusal: Refusal = {
    _tag: "Refusal",
    status: fault.status,
    type: fault.type ?? (fault.status >= 500 ? "server_error" : "invalid_request_error"),
    code: fault.code,
    message: fault.message,
    param: fault.param ?? null,
    ...(fault.headers === undefined ? {} : { headers: fault.headers }),
  }
  const whole = fault.flat === true ? errorEvent(refusal, sent, streamId) : envelope(refusal, streamId)
  const data = fault.withoutStatus === true ? whole.replace(`"status":${fault.status},`, "") : whole
  return { _tag: "End", frame: { event: "error", data, token: false }, status: "error", response: undefined, refusal }
}

const endStep = (ended: Ended, status: EndStatus): Step => ({
  _tag: "End",
  frame: ended.frame,
  status,
  response: ended.response,
  refusal: undefined,
})

/** The steps of the turn with its faults. Of faults at one place the first listed comes first; what ends, ends. */
export const applyFaults = (turn: Performance, faults: ReadonlyArray<Fault>): ReadonlyArray<Step> => {
  const sends = turn.frames.map((frame): Step => ({ _tag: "Send", frame }))
  const ended = faults.some(({ _tag }) => _tag === "TerminalWithoutId") ? turn.withoutId() : turn.terminal
  const end = endStep(ended, turn.status)
  if (faults.length === 0) return [...sends, end]
  const steps: Array<Step> = []
  const strike = (place: number): boolean => {
    for (const fault of faults) {
      const at = "at" in fault && fault.at !== undefined ? fault.at : sends.length
      if (fault._tag === "DuplicateTerminal" || fault._tag === "TerminalWithoutId") continue
      if (Math.min(at, sends.length + 1) !== place) continue
      const sent = Math.min(place, sends.length)
      switch (fault._tag) {
        case "Close":
          steps.push({ _tag: "Close", code: fault.code, reason: fault.reason ?? "" })
          return true
        case "Reset":
        case "Stall":
          steps.push({ _tag: fault._tag })
          return true
        case "Error":
          steps.push(errorStep(fault, sent, turn.streamId))
          return true
        case "Failed":
          steps.push(endStep(turn.failed(fault.code, fault.message, sent), "failed"))
          return true
        case "Incomplete":
          steps.push(endStep(turn.incomplete(fault.reason, sent), "incomplete"))
          return true
        case "Hold":
          steps.push({ _tag: "Hold" })
          break
        case "Delay":
          steps.push({ _tag: "Delay", millis: fault.millis })
          break
        case "InvalidJson":
          steps.push({ _tag: "Text", text: '{"type":"response.output_text.delta",' })
          break
        case "BinaryFrame":
          steps.push({ _tag: "Binary" })
          break
        case "ExtraFrame":
          steps.push({ _tag: "Text", text: fault.text ?? stray })
          break
      }
    }
    return false
  }
  for (const [index, send] of sends.entries()) {
    if (strike(index)) return steps
    steps.push(send)
  }
  if (strike(sends.length)) return steps
  steps.push(end)
  if (faults.some(({ _tag }) => _tag === "DuplicateTerminal")) steps.push({ _tag: "Send", frame: ended.frame })
  strike(sends.length + 1)
  return steps
}
