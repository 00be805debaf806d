/**
 * Turns what a turn would send into what it does send; faults are applied here and nowhere else.
 *
 * Faults are data. A fault's `at` is the index of the frame it comes before; an absent `at` is the terminal frame, an
 * `at` beyond the terminal frame comes after it.
 */
import type { ErrorFault, Refusal } from "./Refusal.ts"
import { errorText, refusalOf } from "./Refusal.ts"

export type Fault =
  /** Ends the socket with a close frame (over HTTP: cuts the answer). */
  | { readonly _tag: "Close"; readonly at?: number; readonly code: number; readonly reason?: string }
  /** Ends the socket without a close frame (over HTTP: cuts the answer). */
  | { readonly _tag: "Reset"; readonly at?: number }
  /** Ends the answer as if it were whole: a close frame with 1000, over HTTP an end of the body that looks right. */
  | { readonly _tag: "Finish"; readonly at?: number }
  /** Sends nothing more; the socket stays open. */
  | { readonly _tag: "Stall"; readonly at?: number }
  /** Waits until `release`. */
  | { readonly _tag: "Hold"; readonly at?: number }
  /** Waits so many milliseconds. */
  | { readonly _tag: "Delay"; readonly at?: number; readonly millis: number }
  /**
   * Ends the turn with an error: an envelope, or the flat event if `flat`; over HTTP, before any frame, with the
   * status.
   */
  | ({ readonly _tag: "Error"; readonly at?: number } & ErrorFault)
  /** Sends an event of a type that no client knows yet, numbered as one of the turn's. Not after the terminal frame. */
  | { readonly _tag: "UnknownEvent"; readonly at?: number }
  /** Sends a text frame that is not JSON. */
  | { readonly _tag: "InvalidJson"; readonly at?: number }
  | { readonly _tag: "BinaryFrame"; readonly at?: number }
  /** Sends a frame with `text` at any position; where `text` is absent, an event of another response. */
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
  /** Whether the frame counts as one token when the answer is paced. */
  readonly token: boolean
}

type EndStatus = "completed" | "failed" | "incomplete" | "error"

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
  /** An event beside the turn's, which does not count among them. */
  | { readonly _tag: "Extra"; readonly frame: Frame }
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Binary" }
  | { readonly _tag: "Close"; readonly code: number; readonly reason: string }
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Finish" }
  | { readonly _tag: "Stall" }
  | { readonly _tag: "Hold" }
  | { readonly _tag: "Delay"; readonly millis: number }

export interface Ended {
  readonly frame: Frame
  readonly response: string
}

/** What a turn would send: its frames before the end, and each end that it may come to. */
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
  const refusal = refusalOf(fault)
  const data = errorText(fault, sent, streamId)
  return { _tag: "End", frame: { event: "error", data, token: false }, status: "error", response: undefined, refusal }
}

export const unknownType = "response.future_thing.delta"

/** The frame, with a sequence number that is higher by so many. */
const renumbered = (frame: Frame, by: number): Frame =>
  by === 0
    ? frame
    : {
        ...frame,
        data: frame.data.replace(
          /"sequence_number":(\d+)/,
          (_, number: string) => `"sequence_number":${Number(number) + by}`,
        ),
      }

const moved = (step: Step, by: number): Step =>
  step._tag === "Send" || step._tag === "End" ? { ...step, frame: renumbered(step.frame, by) } : step

const endStep = (ended: Ended, status: EndStatus): Step => ({
  _tag: "End",
  frame: ended.frame,
  status,
  response: ended.response,
  refusal: undefined,
})

/**
 * The steps of the turn with its faults. Faults at one position apply as listed; after one that ends the turn none
 * does.
 */
export const applyFaults = (turn: Performance, faults: ReadonlyArray<Fault>): ReadonlyArray<Step> => {
  const sends = turn.frames.map((frame): Step => ({ _tag: "Send", frame }))
  const ended = faults.some(({ _tag }) => _tag === "TerminalWithoutId") ? turn.withoutId() : turn.terminal
  const end = endStep(ended, turn.status)
  if (faults.length === 0) return [...sends, end]
  const steps: Array<Step> = []
  let unknown = 0
  const put = (step: Step) => steps.push(moved(step, unknown))
  /** Applies the faults at a position; true: one of them has ended the turn. */
  const applyAt = (position: number): boolean => {
    for (const fault of faults) {
      const at = "at" in fault && fault.at !== undefined ? fault.at : sends.length
      if (fault._tag === "DuplicateTerminal" || fault._tag === "TerminalWithoutId") continue
      if (Math.min(at, sends.length + 1) !== position) continue
      const sent = Math.min(position, sends.length)
      switch (fault._tag) {
        case "Close":
          steps.push({ _tag: "Close", code: fault.code, reason: fault.reason ?? "" })
          return true
        case "Reset":
        case "Finish":
        case "Stall":
          steps.push({ _tag: fault._tag })
          return true
        case "Error":
          put(errorStep(fault, sent, turn.streamId))
          return true
        case "Failed":
          put(endStep(turn.failed(fault.code, fault.message, sent), "failed"))
          return true
        case "Incomplete":
          put(endStep(turn.incomplete(fault.reason, sent), "incomplete"))
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
        case "UnknownEvent": {
          if (position > sends.length) break
          const data = `{"type":"${unknownType}","sequence_number":${sent + unknown++},"thing":{"delta":"?"}}`
          steps.push({ _tag: "Send", frame: { event: unknownType, data, token: false } })
          break
        }
        case "ExtraFrame":
          steps.push({ _tag: "Text", text: fault.text ?? stray })
          break
      }
    }
    return false
  }
  for (const [index, send] of sends.entries()) {
    if (applyAt(index)) return steps
    put(send)
  }
  if (applyAt(sends.length)) return steps
  put(end)
  if (faults.some(({ _tag }) => _tag === "DuplicateTerminal")) put({ _tag: "Send", frame: ended.frame })
  applyAt(sends.length + 1)
  return steps
}
