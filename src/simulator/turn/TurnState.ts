/**
 * Gives each turn of a conversation one `x-codex-turn-state` and refuses a request that brings another's.
 *
 * A turn is what follows a user's message: requests of one `prompt_cache_key` whose contexts hold the same messages of
 * the user. An upgrade is answered with a state of its own; it becomes that of the first turn on the connection that
 * has none yet. Source: docs/protocol.md 3.3.
 */
import type { CreateRequest } from "../request/CreateRequest.ts"
import { isObject } from "../JsonText.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid } from "../Refusal.ts"
import type { Entry, SimulatorState, TurnRecord } from "../SimulatorState.ts"

export const turnStateHeader = "x-codex-turn-state"

/** The state that answers the upgrade of that connection. */
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

/** The state of the request's turn, new where the turn is new; a warm-up begins none. */
export const turnStateOf = (
  { ids, turnStates: { given, offered } }: SimulatorState,
  record: TurnRecord,
  request: CreateRequest,
  entries: ReadonlyArray<Entry>,
): string | undefined | Refusal => {
  const turn = turnOf(request, entries)
  const offer = offered.get(record.connection)
  const known = given.get(turn)
  // A turn that was cut off before it told its state is told another one by the next upgrade.
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
