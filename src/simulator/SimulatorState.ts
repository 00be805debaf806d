/**
 * Holds what the simulator knows and reports: its switches, records, counters, and the conversations it has seen.
 */
import type { Transport } from "./request/CreateRequest.ts"
import type { FaultQueue } from "./request/Arrival.ts"
import type { Fault } from "./Faults.ts"
import type { Ids } from "./Ids.ts"
import { makeIds } from "./Ids.ts"
import type { JsonObject } from "./JsonText.ts"
import type { Profile } from "./Profile.ts"
import type { Refusal } from "./Refusal.ts"
import type { Script } from "./Script.ts"
import { agent } from "./Script.ts"

type TurnStatus = "queued" | "running" | "completed" | "failed" | "incomplete" | "error" | "abandoned"

/** One create request and what became of it. Texts are exactly as received and sent. */
export interface TurnRecord {
  readonly index: number
  readonly transport: Transport
  /** The dial ordinal of the connection, from 0; -1 over HTTP. */
  readonly connection: number
  /** The headers of the request, or of the connection's upgrade; names in lower case, credentials included. */
  readonly headers: Readonly<Record<string, string>>
  readonly raw: string
  /** Undefined: the text is no JSON object. */
  readonly request: JsonObject | undefined
  readonly streamId: string | undefined
  /** How many items the request had. */
  readonly newItems: number
  /** The raw text of every item that the model sees: the chain's, then the new ones. */
  readonly context: ReadonlyArray<string>
  /** The raw text of the output items that were done. */
  readonly output: ReadonlyArray<string>
  readonly responseId: string | undefined
  /** `abandoned`: the socket or the client went away, or a fault cut it. */
  readonly status: TurnStatus
  /** Why the turn ended with `error`. */
  readonly refusal: Refusal | undefined
  /** `false` for a warm-up. */
  readonly generate: boolean
  readonly uplinkBytes: number
  readonly neededBytes: number
  readonly inputTokens: number
  readonly cachedTokens: number
}

export interface ConnectionRecord {
  /** From 0, in the order of the upgrades. */
  readonly ordinal: number
  /** Milliseconds of the clock. */
  readonly openedAt: number
  readonly headers: Readonly<Record<string, string>>
  /** The label (see `tokenLabel`) of the token that opened it, never the token. */
  readonly token: string | undefined
  /** The models its create requests named, each once, in order. */
  readonly models: ReadonlyArray<string>
  /** How many pings came. */
  readonly pings: number
  readonly open: boolean
  /** 1006 where the peer left without a close frame. */
  readonly closeCode: number | undefined
}

export interface Counters {
  readonly upgrades: number
  readonly refusedUpgrades: number
  /** Upgrades that get no answer. */
  readonly hangingUpgrades: number
  readonly openSockets: number
  /** Every create request received, refused ones too. */
  readonly httpTurns: number
  readonly websocketTurns: number
  /** Turns for which the model ran, including those that a fault cut; warm-ups and refused requests are not counted. */
  readonly executions: number
  /** Executed turns that continued a response by its id and brought only what was new. */
  readonly continuations: number
  /** Create requests that were answered with an error before any execution. */
  readonly refusedTurns: number
  /** Requests that a fault left unread; they are counted nowhere else. */
  readonly unread: number
  /** Bytes of the requests' texts in UTF-8, after any content coding. */
  readonly uplinkBytes: number
  /** Bytes of the values of `input`. */
  readonly inputBytes: number
  /** What a client that sends only what is new would have had to send. */
  readonly neededBytes: number
  readonly inputTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  /** Replayed items that have an id which the simulator issued, but say something else. */
  readonly editedItems: number
}

/** What a fault hook may look at. */
export interface FaultTurn {
  /** How many turns were executed before, warm-ups included. */
  readonly index: number
  readonly transport: Transport
  readonly connection: number
  readonly request: JsonObject
  readonly context: ReadonlyArray<JsonObject>
}

/** All that can be changed while the simulator runs. */
export interface Switches {
  /** `off` answers an upgrade with `websocketOffStatus`, `hang` does not answer it. */
  readonly websocket: "on" | "off" | "hang"
  readonly websocketOffStatus: 404 | 405 | 426 | 501
  /** Answers every upgrade with this instead. */
  readonly upgradeRefusal:
    | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
    | undefined
  /** Sent with the answer to every upgrade. */
  readonly upgradeHeaders: Readonly<Record<string, string>>
  /** Leaves `output` out of `response.completed` on the socket. */
  readonly sparseTerminal: boolean
  /** Whether events name the lane that their request named. */
  readonly namesLanes: boolean
  /** Milliseconds before a turn's first event. */
  readonly latency: number
  /** Milliseconds before each further event. */
  readonly eventLatency: number
  /** 0: as fast as can be. */
  readonly tokensPerSecond: number
  /** A larger message closes the socket with 1009. */
  readonly maxMessageBytes: number
  /** The accepted tokens; undefined accepts anything, and nothing where the profile needs none. */
  readonly apiKeys: ReadonlyArray<string> | undefined
  /** Milliseconds after which a socket takes no more turns. */
  readonly maxConnectionAge: number
  /** Whether an idle socket gets the error frame and ends as soon as it has that age; else at its next turn. */
  readonly announceConnectionLimit: boolean
  readonly script: Script
  /** Asked for the faults of every turn for which `failNext` has queued nothing. */
  readonly fault: (turn: FaultTurn) => ReadonlyArray<Fault>
}

export const defaultSwitches: Switches = {
  websocket: "on",
  websocketOffStatus: 426,
  upgradeRefusal: undefined,
  upgradeHeaders: {},
  sparseTerminal: false,
  namesLanes: true,
  latency: 0,
  eventLatency: 0,
  tokensPerSecond: 0,
  maxMessageBytes: Number.POSITIVE_INFINITY,
  apiKeys: undefined,
  maxConnectionAge: 3_600_000,
  announceConnectionLimit: false,
  script: agent(),
  fault: () => [],
}

const zero: Counters = {
  upgrades: 0,
  refusedUpgrades: 0,
  hangingUpgrades: 0,
  openSockets: 0,
  httpTurns: 0,
  websocketTurns: 0,
  executions: 0,
  continuations: 0,
  refusedTurns: 0,
  unread: 0,
  uplinkBytes: 0,
  inputBytes: 0,
  neededBytes: 0,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
  editedItems: 0,
}

export type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** One item of a rebuilt context. */
export interface Entry {
  readonly raw: string
  readonly value: JsonObject
  readonly bytes: number
  readonly facts: Facts
}

/** What is worked out once for the text of an item. */
export interface Facts {
  /** Digests of what the item says; none for reasoning. */
  readonly units: ReadonlyArray<bigint>
  /** Names that may come once in a context: of the id, of the call, of the output. */
  readonly names: ReadonlyArray<string>
  /** The name of the call that an output needs. */
  readonly answers: string | undefined
  /** The name of the output that a call needs. */
  readonly needs: string | undefined
}

/** A sequence of items that can be continued, with the digest of what they say. */
export interface History {
  readonly entries: ReadonlyArray<Entry>
  readonly digest: bigint
  /** The id of the chain's first response, where it has one. */
  readonly root: string | undefined
}

/** What a response id stands for: everything up to and with its output. */
export interface Chain extends History {
  readonly responseId: string
  readonly root: string
}

interface StoredResponse {
  readonly chain: Chain
  /** How many of the chain's entries were the input. */
  readonly inputs: number
  /** The response object's text. */
  readonly response: string
}

/** The connection that saw a prefix last, and the digest of the instructions, tools and reasoning that it came with. */
export interface Sighting {
  readonly connection: number
  readonly preamble: bigint
}

export interface SimulatorState {
  readonly seed: number
  readonly profile: Profile
  /** Names that `model` may take, where it names a deployment. */
  readonly deployments: ReadonlyArray<string>
  /** What `/models` lists. */
  readonly models: ReadonlyArray<string>
  readonly ids: Ids
  readonly now: () => number
  readonly recordLimit: number
  switches: Switches
  counters: Mutable<Counters>
  turns: Array<Mutable<TurnRecord>>
  connections: Array<Mutable<ConnectionRecord>>
  /** How many turns were received, including those that `reset` has forgotten. */
  received: number
  /** How many turns were executed, including those that `reset` has forgotten. */
  executed: number
  dialled: number
  readonly faults: FaultQueue
  readonly stored: Map<string, StoredResponse>
  readonly conversations: Map<string, History>
  /** Roots of chains that cannot be continued any more. */
  readonly ended: Set<string>
  /** `given`: by turn. `offered`: by connection, the state in the answer to its upgrade that no turn has taken yet. */
  readonly turnStates: { readonly given: Map<string, string>; readonly offered: Map<number, string> }
  /** Stored items by id, for references. */
  readonly storedItems: Map<string, Entry>
  /** Every item that was ever issued, by id and by call id. */
  readonly issued: Map<string, JsonObject>
  readonly sightings: Map<bigint, Sighting>
  readonly facts: Map<bigint, Facts>
  /** Called after every change of what is reported. */
  readonly changed: () => void
}

export const makeState = (options: {
  readonly seed: number
  readonly profile: Profile
  readonly deployments: ReadonlyArray<string>
  readonly models: ReadonlyArray<string>
  readonly switches: Switches
  readonly recordLimit: number
  readonly now: () => number
  readonly changed: () => void
}): SimulatorState => ({
  ...options,
  ids: makeIds(options.seed),
  counters: { ...zero },
  turns: [],
  connections: [],
  received: 0,
  executed: 0,
  dialled: 0,
  faults: [],
  stored: new Map(),
  conversations: new Map(),
  ended: new Set(),
  turnStates: { given: new Map(), offered: new Map() },
  storedItems: new Map(),
  issued: new Map(),
  sightings: new Map(),
  facts: new Map(),
})

/** Forgets records and counters; open sockets and conversations stay. */
export const resetState = (state: SimulatorState): void => {
  state.counters = { ...zero, openSockets: state.counters.openSockets }
  state.turns = state.turns.filter(({ status }) => status === "queued" || status === "running")
  state.connections = state.connections.filter(({ open }) => open)
  state.faults.length = 0
  state.changed()
}
