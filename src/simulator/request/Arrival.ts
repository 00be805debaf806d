/**
 * Does to a request what happens before any of it runs: it is not read, refused, or finds its connection's memory gone.
 *
 * A list with such a fault belongs to the next request that arrives, whatever becomes of it; its other faults are the
 * turn's, where one begins. Nothing here counts as an execution.
 */
import type { Fault } from "../Faults.ts"
import type { ErrorFault } from "../Refusal.ts"

export type ArrivalFault =
  /** Ends the socket without having read the request, with a close frame where there is a code (over HTTP: no answer). */
  | { readonly _tag: "Unread"; readonly code?: number; readonly reason?: string }
  /** The connection reads this request and all later ones no more, but stays open (over HTTP: no answer ever). */
  | { readonly _tag: "Deaf" }
  /** The connection forgets the responses it kept, as after a failed turn; with `stored` they are deleted as well. */
  | { readonly _tag: "Forget"; readonly stored?: boolean }
  /** The connection is as old as it may get. Nothing over HTTP. */
  | { readonly _tag: "ConnectionLimit" }
  /** An error in place of the turn. */
  | ({ readonly _tag: "Refuse" } & ErrorFault)

const kinds = { Unread: true, Deaf: true, Forget: true, ConnectionLimit: true, Refuse: true } as const satisfies Record<
  ArrivalFault["_tag"],
  true
>

const isOfArrival = (fault: Fault | ArrivalFault): fault is ArrivalFault => fault._tag in kinds

/** What a request brought with it. */
export interface Arrival {
  readonly unread: Extract<ArrivalFault, { readonly _tag: "Unread" }> | undefined
  readonly deaf: boolean
  readonly forget: Extract<ArrivalFault, { readonly _tag: "Forget" }> | undefined
  readonly limit: boolean
  readonly refuse: Extract<ArrivalFault, { readonly _tag: "Refuse" }> | undefined
  /** The faults of its turn; undefined: the turn asks for its own. */
  readonly faults: ReadonlyArray<Fault> | undefined
}

const peaceful: Arrival = {
  unread: undefined,
  deaf: false,
  forget: undefined,
  limit: false,
  refuse: undefined,
  faults: undefined,
}

/** What every request meets at a connection that reads no more. */
export const unheard: Arrival = { ...peaceful, deaf: true }

/** Lists of faults that wait for their turn. */
export type FaultQueue = Array<ReadonlyArray<Fault | ArrivalFault>>

/** Takes the next list where it begins before the turn. */
export const arrivalOf = (queue: FaultQueue): Arrival => {
  const next = queue[0]
  if (next === undefined || !next.some(isOfArrival)) return peaceful
  queue.shift()
  const find = <Tag extends ArrivalFault["_tag"]>(tag: Tag) =>
    next.find((fault): fault is Extract<ArrivalFault, { readonly _tag: Tag }> => fault._tag === tag)
  return {
    unread: find("Unread"),
    deaf: find("Deaf") !== undefined,
    forget: find("Forget"),
    limit: find("ConnectionLimit") !== undefined,
    refuse: find("Refuse"),
    faults: next.filter((fault): fault is Fault => !isOfArrival(fault)),
  }
}

/** Takes the next list where all of it is a turn's. */
export const turnFaults = (queue: FaultQueue): ReadonlyArray<Fault> | undefined => {
  const next = queue[0]
  if (next === undefined || next.some(isOfArrival)) return undefined
  queue.shift()
  return next.filter((fault): fault is Fault => !isOfArrival(fault))
}
