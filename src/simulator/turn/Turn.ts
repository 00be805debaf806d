/**
 * Runs one create request: resolves what it continues, rebuilds the context, asks the script, and records the end.
 *
 * Nothing here knows a socket. A turn is a list of steps to play and two ends: `end`, called right before the terminal
 * frame leaves, and `abandon`, called when the turn is cut.
 */
import { turnFaults } from "../request/Arrival.ts"
import { editedItems, entryOf, rebuild } from "../context/Context.ts"
import type { CreateRequest, InputItem, Transport } from "../request/CreateRequest.ts"
import { parseObject } from "../request/CreateRequest.ts"
import type { Fault, Step } from "../Faults.ts"
import { modelsEtag, withExtraEvents } from "./ExtraEvents.ts"
import { applyFaults, unknownType } from "../Faults.ts"
import { perform } from "./Perform.ts"
import { measure, nothingSeen, remember } from "../context/Prefixes.ts"
import type { Refusal } from "../Refusal.ts"
import { previousResponseNotFound } from "../Refusal.ts"
import { modelOf, notInstructed } from "../request/Rules.ts"
import type { Chain, Entry, History, Mutable, SimulatorState, TurnRecord } from "../SimulatorState.ts"
import { turnStateHeader, turnStateOf } from "./TurnState.ts"

/** One sequence of responses on a connection; it keeps its latest response only. */
export interface Lane {
  readonly name: string | undefined
  latest: Chain | undefined
  running: boolean
  /** The response that runs. */
  responseId: string | undefined
  /** What the client steered the running or the latest response with. */
  steers: ReadonlyArray<Steered>
}

/** Input for a response that had begun. */
export interface Steered {
  readonly id: string
  readonly responseId: string
  readonly text: string
  readonly items: ReadonlyArray<InputItem>
}

export interface Caller {
  readonly transport: Transport
  /** -1 over HTTP. */
  readonly connection: number
  readonly headers: Readonly<Record<string, string>>
}

export interface Turn {
  readonly _tag: "Turn"
  readonly steps: ReadonlyArray<Step>
  /** Headers for the head of an HTTP answer. */
  readonly headers: Readonly<Record<string, string>>
  readonly end: (step: Extract<Step, { readonly _tag: "End" }>) => void
  readonly abandon: () => void
}

const storedLimit = 10_000

/** Notes the arrival of a create request. */
export const arrive = (state: SimulatorState, caller: Caller, text: string, request: CreateRequest | Refusal) => {
  const read = request._tag === "CreateRequest" ? request : undefined
  const uplinkBytes = Buffer.byteLength(text)
  const record: Mutable<TurnRecord> = {
    index: state.received++,
    ...caller,
    raw: text,
    request: read?.value ?? parseObject(text),
    streamId: read?.streamId,
    newItems: read?.items.length ?? 0,
    context: [],
    output: [],
    responseId: undefined,
    status: "queued",
    refusal: undefined,
    generate: read?.generate ?? true,
    uplinkBytes,
    neededBytes: 0,
    inputTokens: 0,
    cachedTokens: 0,
  }
  state.counters[caller.transport === "http" ? "httpTurns" : "websocketTurns"]++
  state.counters.uplinkBytes += uplinkBytes
  state.counters.inputBytes += read?.inputBytes ?? 0
  state.turns.push(record)
  if (state.turns.length > state.recordLimit) state.turns.shift()
  return record
}

export const refuse = (state: SimulatorState, record: Mutable<TurnRecord>, refusal: Refusal): Refusal => {
  record.status = "error"
  record.refusal = refusal
  state.counters.refusedTurns++
  state.changed()
  return refusal
}

const noHistory: History = { entries: [], digest: nothingSeen.digest, root: undefined }

/** `lanes` are those of the request's connection; undefined: the request came over HTTP. */
export const parentOf = (
  state: SimulatorState,
  request: CreateRequest,
  lanes: Iterable<Lane> | undefined,
): History | Refusal => {
  if (request.conversation !== undefined) return state.conversations.get(request.conversation) ?? noHistory
  const id = request.previousResponseId
  if (id === undefined) return noHistory
  for (const lane of lanes ?? []) if (lane.latest?.responseId === id) return lane.latest
  const found = lanes === undefined || state.profile.continues === "stored" ? state.stored.get(id)?.chain : undefined
  return found === undefined || state.ended.has(found.root) ? previousResponseNotFound(id) : found
}

const keep = (
  state: SimulatorState,
  chain: Chain,
  inputs: number,
  fresh: ReadonlyArray<Entry>,
  response: string,
): void => {
  state.stored.set(chain.responseId, { chain, inputs, response })
  for (const entry of fresh) {
    if (typeof entry.value.id === "string") state.storedItems.set(entry.value.id, entry)
  }
  if (state.stored.size > storedLimit) {
    const oldest = state.stored.keys().next().value
    if (oldest !== undefined) state.stored.delete(oldest)
  }
}

/** Forgets the responses that the lanes kept, as a restart of the upstream would; with `stored` the stored ones too. */
export const forget = (state: SimulatorState, lanes: Iterable<Lane>, stored: boolean): void => {
  for (const lane of lanes) lane.latest = undefined
  if (!stored) return
  state.stored.clear()
  state.storedItems.clear()
}

/**
 * Forgets what the profile says that a failed turn makes the upstream forget. As a rule the lane forgets the response
 * that the turn continued; a turn on another lane that continued the same response leaves it.
 */
export const evict = (state: SimulatorState, lane: Lane | undefined, previousResponseId: unknown): void => {
  const { failedTurn } = state.profile
  const continued = lane?.latest?.responseId === previousResponseId ? lane?.latest : undefined
  if (failedTurn === "its chain") {
    const chain =
      continued ?? (typeof previousResponseId === "string" ? state.stored.get(previousResponseId)?.chain : undefined)
    if (chain !== undefined) state.ended.add(chain.root)
  }
  if (lane !== undefined && (continued !== undefined || failedTurn === "the latest")) lane.latest = undefined
}

const sentBefore = (steps: ReadonlyArray<Step>, end: Step): number =>
  steps.slice(0, steps.indexOf(end)).filter((step) => step._tag === "Send" && step.frame.event !== unknownType).length

/**
 * Starts a turn, on a lane of a connection or over HTTP (no lane), or refuses it. `given` are the faults it came with.
 */
export const begin = (
  state: SimulatorState,
  record: Mutable<TurnRecord>,
  request: CreateRequest,
  lane: Lane | undefined,
  lanes: Iterable<Lane> | undefined,
  given: ReadonlyArray<Fault> | undefined,
): Turn | Refusal => {
  const reject = (refusal: Refusal): Refusal => {
    evict(state, lane, request.previousResponseId)
    return refuse(state, record, refusal)
  }
  const parent = parentOf(state, request, lanes)
  if ("_tag" in parent) return reject(parent)
  const rebuilt = rebuild(state, request, parent.entries)
  if (rebuilt._tag === "Refusal") return reject(rebuilt)
  const { entries, fresh } = rebuilt
  const uninstructed = notInstructed(state.profile, request, entries)
  if (uninstructed !== undefined) return reject(uninstructed)
  const turnState = state.profile.turnState ? turnStateOf(state, record, request, entries) : undefined
  if (typeof turnState === "object") return reject(turnState)
  const context = entries.map(({ value }) => value)
  const index = state.executed++
  const measured = measure(
    state,
    request,
    entries,
    { length: parent.entries.length, digest: parent.digest },
    record.connection,
  )
  const answer = request.generate
    ? state.switches.script({ index, context, request: request.value, seed: state.seed })
    : { output: [] }
  const performed = perform({
    request,
    answer,
    ids: state.ids,
    createdAt: Math.floor(state.now() / 1000),
    inputTokens: measured.inputTokens,
    cachedTokens: measured.cachedTokens,
    reasoningStatus: state.profile.reasoningStatus,
    sparse: state.switches.sparseTerminal && record.transport === "websocket",
    nameless: !state.switches.namesLanes,
  })
  const faults =
    given ??
    turnFaults(state.faults) ??
    state.switches.fault({
      index,
      transport: record.transport,
      connection: record.connection,
      request: request.value,
      context,
    })
  for (const { value } of performed.output) {
    if (typeof value.id === "string") state.issued.set(value.id, value)
    if (typeof value.call_id === "string") state.issued.set(value.call_id, value)
  }
  record.neededBytes = measured.neededBytes
  record.inputTokens = measured.inputTokens
  record.cachedTokens = measured.cachedTokens
  record.context = entries.map(({ raw }) => raw)
  record.responseId = performed.responseId
  record.status = "running"
  const { counters } = state
  if (request.generate) counters.executions++
  if (request.previousResponseId !== undefined) counters.continuations++
  counters.editedItems += editedItems(state, fresh)
  counters.neededBytes += measured.neededBytes
  counters.inputTokens += measured.inputTokens
  counters.cachedTokens += measured.cachedTokens
  const played = applyFaults(performed, faults)
  const steps = state.profile.extraEvents
    ? withExtraEvents(played, record.transport, modelOf(request) ?? "", turnState)
    : played

  return {
    _tag: "Turn",
    steps,
    headers: turnState === undefined ? {} : { [turnStateHeader]: turnState, "x-models-etag": modelsEtag },
    end: (step) => {
      record.status = step.status
      record.refusal = step.refusal
      if (step.status === "failed" || step.status === "error") {
        evict(state, lane, request.previousResponseId)
        state.changed()
        return
      }
      const items = step.status === "completed" ? performed.output : performed.doneBefore(sentBefore(steps, step))
      record.output = items.map(({ raw }) => raw)
      counters.outputTokens += performed.usage.outputTokens
      const output = items.map(({ raw, value }) => entryOf(state, raw, value))
      const all = [...entries, ...output]
      const { digest } = remember(state, request, all, measured.seen, record.connection)
      const chain: Chain = {
        responseId: performed.responseId,
        entries: all,
        digest,
        root: parent.root ?? performed.responseId,
      }
      if (lane !== undefined) lane.latest = chain
      if (request.conversation !== undefined) state.conversations.set(request.conversation, chain)
      if (request.store) {
        const response = step.status === "completed" ? performed.stored : (step.response ?? performed.stored)
        keep(state, chain, entries.length, [...fresh, ...output], response)
      }
      state.changed()
    },
    abandon: () => {
      if (record.status !== "running") return
      record.status = "abandoned"
      state.changed()
    },
  }
}
