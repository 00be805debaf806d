/**
 * Says what the log tells of a turn: the fields of its line, and whether it is a warning.
 */
import type { TurnError } from "../TurnError.ts"
import type { TurnRecord } from "./TurnRecord.ts"

export type Fields = Record<string, string | number>

/** Undefined values are no fields. */
const given = (fields: Readonly<Record<string, string | number | undefined>>): Fields =>
  Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, string | number] => field[1] !== undefined),
  )

/** Durations are in milliseconds, sizes in bytes. `failure`: what the turn failed with, where it did. */
export const fieldsOf = (record: TurnRecord, failure: TurnError | undefined): Fields => {
  const { told, turn, usage, way } = record
  const { caller, client, id, session, turnId } = turn
  return given({
    request: id,
    // Where the client named none, the request's id is the turn's own.
    turn: turnId === id ? undefined : turnId,
    scope: caller.label,
    session: session?.name,
    client,
    model: record.model,
    // The only upstream of a configuration is named `default`, which would tell the reader nothing.
    upstream: way?.upstream === "default" ? undefined : way?.upstream,
    transport: way?.transport,
    connection: way?.connection,
    // Over HTTP it is not known.
    connectionId: way?.connectionId === 0 ? undefined : way?.connectionId,
    input: way?.input,
    reason: way?.reason,
    changedItem: way?.changed?.item,
    changedKind: way?.changed?.kind,
    changedMembers: way?.changed?.members?.join(","),
    itemsSent: way?.itemsSent,
    items: way?.items,
    bytesUp: way?.bytesUp,
    status: told?.status,
    outcome: record.outcome,
    upstreamStatus: record.upstreamStatus,
    upstreamCode: record.upstreamCode,
    inputTokens: usage?.input,
    cachedTokens: usage?.cached,
    outputTokens: usage?.output,
    events: record.events,
    leaseMs: record.leaseMs,
    firstMs: record.firstMs,
    totalMs: record.totalMs,
    // The upstream's words may repeat what it was sent, so only respool's are logged.
    error: failure === undefined || failure.reason === "upstream_error" ? undefined : failure.message,
  })
}

/** Whether the turn's line is a warning: the client got a status of 500 or above, or its stream ended in an error. */
export const isBad = ({ outcome, told, upstreamStatus }: TurnRecord, failure: TurnError | undefined): boolean => {
  if (outcome === "failed") return true
  if (told !== undefined) return told.inStream || told.status >= 500
  return failure !== undefined && (upstreamStatus ?? 500) >= 500
}
