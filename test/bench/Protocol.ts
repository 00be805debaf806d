/**
 * What the benchmark's processes say to each other: jobs and results as lines of JSON, the upstream's control as HTTP.
 */

/** How the upstream answers each turn from now on. */
export interface AnswerScript {
  /** `single`: one event; `message`: a text; `call`: reasoning and a function call; `endless`: begins and never ends. */
  readonly kind: "single" | "message" | "call" | "endless"
  /** Text deltas in the answer, of about 178 bytes each. */
  readonly deltas: number
  /** Events a second of one answer; 0: one in each round of the upstream's event loop. */
  readonly perSecond: number
  /** All events in one write. */
  readonly burst: boolean
}

/** What the upstream has counted since it started. */
export interface UpstreamStats {
  readonly turns: number
  readonly upgrades: number
  /** Bytes of all that was received: heads, frames, bodies. */
  readonly bytesUp: number
  /** Open WebSockets. */
  readonly sockets: number
}

/** `session`: each conversation has its own name; `none`: no turn has one; `turn`: each turn a new one. */
type Naming = "session" | "none" | "turn"

/** Conversations that are opened (not measured), and then turns on them (measured). */
export interface TurnsJob {
  readonly _tag: "Turns"
  readonly url: string
  /** Where the opening turns go, if elsewhere. */
  readonly openAt?: string
  readonly headers: Readonly<Record<string, string>>
  /** The target's processes, whose CPU time is read before and after. */
  readonly pids: ReadonlyArray<number>
  /** Base URL of the upstream's control. */
  readonly upstream: string
  readonly upstreamPid: number
  /** The answer to an opening turn. */
  readonly opening: AnswerScript
  readonly answer: AnswerScript
  readonly naming: Naming
  /** False: every turn posts one message alone. */
  readonly continues: boolean
  /** Conversations that are open while turns are measured. */
  readonly sessions: number
  /** Of these, how many are used in one epoch; each is used in one epoch only, and new ones are opened when none is left. */
  readonly active: number
  readonly epochs: number
  readonly turnsPerSession: number
  /** Turns at a time. */
  readonly streams: number
  /** How the clients speak. On sockets each stream has one, so there are as many conversations as streams. */
  readonly front: "http" | "socket"
  /** Bytes of the input that the opening turn posts. */
  readonly history: number
  /** Bytes that each further turn adds besides the answer's items. */
  readonly added: number
  /** Bytes of the other members of the request: instructions and tools. */
  readonly members: number
  /** The opening turns are measured, too. */
  readonly measureOpening: boolean
  /** Leaves the upstream's sockets open at the end. */
  readonly keep: boolean
}

/** Turns that are given up after their first event, each on a connection of its own. */
export interface AbortJob {
  readonly _tag: "Abort"
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly pids: ReadonlyArray<number>
  readonly upstream: string
  readonly turns: number
  readonly streams: number
}

/** Clients' sockets that are opened and stay open, each after a short turn if `asks`. */
export interface SocketsJob {
  readonly _tag: "Sockets"
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly upstream: string
  readonly sockets: number
  readonly asks: boolean
}

export type Job = TurnsJob | AbortJob | SocketsJob

/** Times in milliseconds, unless named. */
export interface TurnsResult {
  readonly turns: number
  readonly events: number
  readonly wallMs: number
  /** CPU time of the target's processes. */
  readonly cpuNanos: number
  /** From writing the request to the answer's first byte, of each measured turn, sorted. */
  readonly firstMs: ReadonlyArray<number>
  /** From writing the request to the answer's end, sorted. */
  readonly totalMs: ReadonlyArray<number>
  readonly bodyBytes: number
  /** Bytes that reached the upstream. */
  readonly bytesUp: number
  readonly upgrades: number
  /** Bytes of new items and of the other members: what a turn can't do without. */
  readonly neededBytes: number
  /** Share of the wall time in which the load process was on a CPU. */
  readonly loadBusy: number
  readonly upstreamBusy: number
}

export interface AbortResult {
  readonly aborted: number
  readonly wallMs: number
  readonly cpuNanos: number
  /** The upstream's open sockets once they have been given two seconds to close. */
  readonly socketsLeft: number
}

export interface SocketsResult {
  readonly opened: number
}

export type JobAnswer<A> =
  | { readonly _tag: "Done"; readonly result: A }
  | { readonly _tag: "Failed"; readonly message: string }
