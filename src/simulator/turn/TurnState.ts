/**
 * Gives each turn of a conversation one `x-codex-turn-state` and refuses a request that brings another's.
 *
 * A turn of Codex is what follows a message of the user: all requests with one `prompt_cache_key` and the same messages
 * of the user in their contexts. The answer to an upgrade brings a state, which becomes that of the first turn on the
 * connection that has none yet. Source: docs/protocol.md 3.3.
 */
import type { CreateRequest } from "../request/CreateRequest.ts"
import { isObject } from "../JsonText.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid } from "../Refusal.ts"
import type { Entry, SimulatorState, TurnRecord } from "../SimulatorState.ts"

export const turnStateHeader = "x-codex-turn-state"

/** Makes the state for the answer to the upgrade of a connection. */
export const offerTurnState = ({ ids, turnStates }: SimulatorState, connection: number): string => {
  const state = ids.item("ts")
  turnStates.offered.set(connection, state)
  return state
}

const turnOf = ({ value }: CreateRequest, entries: ReadonlyArray<Entry>): string =>
  [
    value.prompt_cache_key ?? "",
    ...entries.filter(({ value }) => value.role === "user").flatMap(({ facts }) => facts.units),
  ]
    .map(String)
    .join(" ")

const carriedBy = (request: CreateRequest, { headers, transport }: TurnRecord): ReadonlyArray<string> => {
  const { client_metadata: metadata } = request.value
  const inFrame = isObject(metadata) ? metadata[turnStateHeader] : undefined
  return [transport === "http" ? headers[turnStateHeader] : undefined, inFrame].filter(
    (state): state is string => typeof state === "string",
  )
}

/** The state of the request's turn, a new one if the turn is new; a warm-up does not begin a turn. */
export const turnStateOf = (
  { ids, turnStates: { given, offered } }: SimulatorState,
  record: TurnRecord,
  request: CreateRequest,
  entries: ReadonlyArray<Entry>,
): string | undefined | Refusal => {
  const turn = turnOf(request, entries)
  const offer = offered.get(record.connection)
  const known = given.get(turn)
  // If a turn was cut before the client was told its state, the client has only that of its next upgrade, which is good
  // too.
  const carried = carriedBy(request, record).filter((state) => state !== known && state !== offer)
  if (carried.length > 0) {
    return invalid(`'${turnStateHeader}' belongs to another turn.`, { code: "invalid_turn_state" })
  }
  if (known !== undefined || !request.generate) return known ?? offer
  offered.delete(record.connection)
  const state = offer ?? ids.item("ts")
  given.set(turn, state)
  return state
}
