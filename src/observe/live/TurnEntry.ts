/**
 * What is kept of a turn that is over, for those who ask later why it went as it did. It holds names, places and figures,
 * and no content of the conversation, no credential and no id of a response.
 */
import type { TurnRecord } from "../../turn/record/TurnRecord.ts"

export interface TurnEntry {
  /** Turns are numbered as they end, from 1. */
  readonly number: number
  /** When it ended, in milliseconds of the proxy's clock, of which only differences mean anything. */
  readonly at: number
  /** The id of the request: the client's own, or else the turn's. */
  readonly request: string
  readonly turn: string
  readonly caller: string
  readonly session: string | undefined
  readonly model: string | undefined
  /** Undefined: no attempt was made. */
  readonly way: TurnRecord["way"]
  readonly outcome: string
  /** The status that the client was told; undefined: it had left. */
  readonly status: number | undefined
  readonly upstreamStatus: number | undefined
  readonly upstreamCode: string | undefined
  readonly usage: TurnRecord["usage"]
  readonly attempts: number
  readonly leaseMs: number | undefined
  readonly firstMs: number | undefined
  readonly totalMs: number
  /** How many bytes of input were not sent upstream. Below 0: they were sent more than once. */
  readonly saved: number
}

/** A client may give its session a name of 256 characters; the beginning tells them apart. */
const longestLabel = 64

export const label = (name: string | undefined): string | undefined =>
  name === undefined || name.length <= longestLabel ? name : `${name.slice(0, longestLabel - 1)}…`

export const entryOf = (record: TurnRecord, number: number, at: number): TurnEntry => {
  const { caller, id, session, turnId } = record.turn
  return {
    number,
    at,
    request: id,
    turn: turnId,
    caller: caller.label,
    session: label(session?.name),
    model: record.model,
    way: record.way,
    outcome: record.outcome,
    status: record.told?.status,
    upstreamStatus: record.upstreamStatus,
    upstreamCode: record.upstreamCode,
    usage: record.usage,
    attempts: record.attempts,
    leaseMs: record.leaseMs,
    firstMs: record.firstMs,
    totalMs: record.totalMs,
    saved: record.clientInputBytes - record.upstreamInputBytes,
  }
}
