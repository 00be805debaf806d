/**
 * Says what the log tells of a turn: the fields of its line, and whether it is a warning.
 */
import type { TurnRoute } from "../Executor.ts"
import type { TurnError } from "../TurnError.ts"
import type { TurnRecord } from "./TurnRecord.ts"

export type Fields = Record<string, string | number>

/** Durations are in milliseconds, sizes in bytes. `failure`: what the turn failed with, where it did. */
export const fieldsOf = (record: TurnRecord, failure: TurnError | undefined): Fields => {
  const { told, turn, usage, way } = record
  const { caller, client, id, session, turnId } = turn
  const fields: Fields = { request: id }
  // Undefined values are no fields. One object is filled, since every turn has some twenty of them.
  const add = (name: string, value: string | number | undefined) => {
    if (value !== undefined) fields[name] = value
  }
  // Where the client named none, the request's id is the turn's own.
  if (turnId !== id) add("turn", turnId)
  add("scope", caller.label)
  add("session", session?.name)
  add("client", client)
  add("model", record.model)
  if (way !== undefined) addWay(way, add)
  add("status", told?.status)
  add("outcome", record.outcome)
  add("upstreamStatus", record.upstreamStatus)
  add("upstreamCode", record.upstreamCode)
  add("inputTokens", usage?.input)
  add("cachedTokens", usage?.cached)
  add("outputTokens", usage?.output)
  add("events", record.events)
  add("leaseMs", record.leaseMs)
  add("firstMs", record.firstMs)
  add("totalMs", record.totalMs)
  // The upstream's words may repeat what it was sent, so only respool's are logged.
  if (failure !== undefined && failure.reason !== "upstream_error") add("error", failure.message)
  return fields
}

const addWay = (way: TurnRoute, add: (name: string, value: string | number | undefined) => void) => {
  // The only upstream of a configuration is named `default`, which would tell the reader nothing.
  if (way.upstream !== "default") add("upstream", way.upstream)
  add("transport", way.transport)
  add("connection", way.connection)
  // Over HTTP it is not known.
  if (way.connectionId !== 0) add("connectionId", way.connectionId)
  add("input", way.input)
  add("reason", way.reason)
  add("node", way.node)
  add("takeover", way.takeover)
  add("changedItem", way.changed?.item)
  add("changedKind", way.changed?.kind)
  add("changedMembers", way.changed?.members?.join(","))
  add("itemsSent", way.itemsSent)
  add("items", way.items)
  add("bytesUp", way.bytesUp)
}

/** Whether the turn's line is a warning: the client got a status of 500 or above, or its stream ended in an error. */
export const isBad = ({ outcome, told, upstreamStatus }: TurnRecord, failure: TurnError | undefined): boolean => {
  if (outcome === "failed") return true
  if (told !== undefined) return told.inStream || told.status >= 500
  return failure !== undefined && (upstreamStatus ?? 500) >= 500
}
