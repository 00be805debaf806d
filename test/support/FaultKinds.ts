/**
 * Every kind of fault, and what the design's table says follows from it ("What may be retried").
 */
import type { AnyFault, Ending } from "./Faulty.ts"
import { afterTerminal, firstContent } from "./Faulty.ts"

/**
 * What follows from a fault before anything was shown: `again` is one more run and the right answer; `error` is the
 * client's, without another run; anything else ends the turn as it says.
 */
type Then = "again" | Ending

export interface Kind {
  readonly name: string
  /** Before which frame; a kind without a place has one cell only. */
  readonly fault: (at: number) => AnyFault
  readonly placed: boolean
  /** The model has begun to run when it strikes. */
  readonly runs: boolean
  /** What the table says of it before anything was shown, with a request that was sent in full. */
  readonly full: Then
  /** The same for our own suffix; as `full` where absent. */
  readonly suffix?: Then
  /** The same with `RESPOOL_RETRY=strict`; no difference where absent. */
  readonly strict?: Then
  /** Once something was shown; `error` where absent. */
  readonly shown?: Ending
  /** An error of it must tell the SDKs not to try again: it may have run. */
  readonly mayHaveRun: boolean
  /** Behind the turn's end it is a frame that nobody owns, and ends the connection. */
  readonly stray?: boolean
  /** Only time ends it. */
  readonly silent?: boolean
  /** Over HTTP; as `shown` where absent, since little is tried again there. `none`: there is no such thing. */
  readonly http?: Ending | "none"
}

const error = (status: number, code: string, rest: Partial<Kind>): Kind => ({
  name: `error ${status} ${code}`,
  fault: (at) => ({ _tag: "Error", at, status, code, message: "It failed." }),
  placed: true,
  runs: true,
  full: "error",
  mayHaveRun: false,
  ...rest,
})
const refuse = (status: number, rest: Partial<Kind> = {}): Kind => ({
  name: `refusal ${status}`,
  fault: () => ({ _tag: "Refuse", status, code: "refused", message: "Refused." }),
  placed: false,
  runs: false,
  full: "error",
  mayHaveRun: false,
  ...rest,
})
const lost = { placed: true, runs: true, full: "again", strict: "error", mayHaveRun: true } as const
const unread = { placed: false, runs: false, full: "again", strict: "error", mayHaveRun: true, http: "error" } as const
const broken = { placed: true, runs: true, full: "error", mayHaveRun: true } as const
const harmless = { placed: false, runs: true, full: "answer", mayHaveRun: false, shown: "answer" } as const

/** The table of the design, "What may be retried", one row per kind of fault. */
export const kinds: ReadonlyArray<Kind> = [
  ...[1000, 1001, 1011, 1012].map((code) => ({
    ...lost,
    name: `close ${code}`,
    fault: (at: number) => ({ _tag: "Close", at, code }) as const,
  })),
  { ...lost, name: "reset", fault: (at) => ({ _tag: "Reset", at }) },
  { ...lost, name: "just ends", fault: (at) => ({ _tag: "Finish", at }) },
  { ...lost, name: "close 1009", fault: (at) => ({ _tag: "Close", at, code: 1009 }) },
  { ...broken, name: "stall", fault: (at) => ({ _tag: "Stall", at }), silent: true },
  { ...broken, name: "invalid JSON", fault: (at) => ({ _tag: "InvalidJson", at }), stray: true },
  { ...broken, name: "binary frame", fault: (at) => ({ _tag: "BinaryFrame", at }), stray: true, http: "none" },
  error(400, "bad_thing", { suffix: "again" }),
  error(400, "previous_response_not_found", { suffix: "again" }),
  error(400, "websocket_connection_limit_reached", { full: "again" }),
  error(401, "invalid_api_key", {}),
  error(429, "rate_limit_exceeded", {}),
  error(500, "server_error", {}),
  {
    ...broken,
    name: "flat error",
    fault: (at) => ({ _tag: "Error", at, status: 500, flat: true, code: "server_error", message: "It failed." }),
    mayHaveRun: false,
  },
  {
    ...harmless,
    name: "response.failed",
    fault: (at) => ({ _tag: "Failed", at, code: "server_error", message: "It failed." }),
    placed: true,
    full: "failed",
    shown: "failed",
  },
  {
    ...harmless,
    name: "response.incomplete",
    fault: (at) => ({ _tag: "Incomplete", at, reason: "max_output_tokens" }),
    placed: true,
    full: "incomplete",
    shown: "incomplete",
  },
  { ...harmless, name: "unknown event", fault: (at) => ({ _tag: "UnknownEvent", at }), placed: true },
  {
    ...harmless,
    name: "frame after the terminal",
    fault: () => ({ _tag: "ExtraFrame", at: afterTerminal }),
    stray: true,
  },
  { ...harmless, name: "two terminals", fault: () => ({ _tag: "DuplicateTerminal" }), stray: true },
  { ...harmless, name: "terminal without an id", fault: () => ({ _tag: "TerminalWithoutId" }) },
  ...[1000, 1001, 1011, 1012].map((code) => ({
    ...unread,
    name: `unread, close ${code}`,
    fault: () => ({ _tag: "Unread", code }) as const,
    http: "none" as const,
  })),
  { ...unread, name: "unread, reset", fault: () => ({ _tag: "Unread" }) },
  {
    ...unread,
    name: "unread, close 1009",
    fault: () => ({ _tag: "Unread", code: 1009 }),
    strict: "again",
    http: "none",
  },
  { ...unread, name: "silently dead", fault: () => ({ _tag: "Deaf" }), full: "error", silent: true },
  {
    ...harmless,
    name: "memory lost",
    fault: () => ({ _tag: "Forget", stored: true }),
    suffix: "again",
    runs: false,
    http: "none",
  },
  {
    ...unread,
    name: "connection limit",
    fault: () => ({ _tag: "ConnectionLimit" }),
    strict: "again",
    mayHaveRun: false,
    http: "none",
  },
  refuse(400, { suffix: "again" }),
  refuse(422, { suffix: "again" }),
  refuse(401),
  refuse(403),
  refuse(429),
  refuse(500),
]

export interface Cell {
  readonly kind: Kind
  readonly at: number
  readonly later: boolean
  readonly stream: boolean
  readonly strict: boolean
  readonly http: boolean
  /** It strikes the next attempt too. */
  readonly twice: boolean
}

const closesOverHttp = ({ name }: Kind) => /^(close \d+|reset|unread, reset)$/.test(name)

/** The socket ends before the upstream has said anything of the turn. */
export const endsUnheard = ({ at, kind }: Pick<Cell, "at" | "kind">) =>
  (at === 0 || !kind.placed) && /^((unread, )?(close \d+|reset)|just ends)$/.test(kind.name)

/**
 * The ending and the number of runs that the table allows. `reason`: why the last attempt was made. It tells what a
 * first turn met: a new connection, or one that had carried another session's turns.
 */
export const allowed = (cell: Cell, reason = ""): readonly [Ending, runs: number] => {
  const { at, http, kind, later, stream, strict, twice } = cell
  // The connection that would have been told to forget has nothing to forget yet, and its turn runs.
  if (kind.name === "memory lost") return ["answer", 1]
  const runs = kind.runs ? 1 : 0
  if (kind.placed && at === afterTerminal) return ["answer", 1]
  if (http) {
    // Nobody reads frames out of one object of JSON.
    if (!stream && (kind.name === "unknown event" || kind.name === "invalid JSON")) return ["answer", 1]
    // What closes the connection before its answer has a head is sent again, once.
    if (closesOverHttp(kind) && at === 0) return twice ? ["error", 2 * runs] : ["answer", runs + 1]
    if (kind.http === "answer" || kind.http === "error") return [kind.http, runs]
    return [kind.placed ? (kind.shown ?? "error") : kind.full === "answer" ? "answer" : "error", runs]
  }
  // After two sockets that end so in a row there is HTTP.
  if (reason === "sockets_closed" && twice && !strict && endsUnheard(cell)) return ["answer", 2 * runs + 1]
  const mayBeOfAnother = /^(error 400|refusal 4(00|22)$|flat error)/.test(kind.name) && at <= firstContent
  if (!later && mayBeOfAnother && (reason === "context_refused" || reason === "foreign_event")) {
    return ["answer", runs + 1]
  }
  if (kind.placed && at > firstContent) return [kind.shown ?? "error", 1]
  // An error without a status, before the answer that it belongs into, may be of the turn before.
  if (kind.name === "flat error" && at === 0 && later && !strict)
    return twice ? ["error", 2 * runs] : ["answer", runs + 1]
  // A message that is too big has been refused, not lost, as long as nothing was answered.
  const tooBig = endsUnheard(cell) && kind.name.endsWith("close 1009")
  const then = (strict && !tooBig ? kind.strict : undefined) ?? (later ? kind.suffix : undefined) ?? kind.full
  if (then !== "again") return [then, runs]
  // A message that is too big goes over HTTP, where a close costs another try.
  if (twice && !strict && tooBig) return ["answer", 2 * runs + 1]
  // Each retry happens once: the second error is the client's.
  return twice ? ["error", 2 * runs] : ["answer", runs + 1]
}
