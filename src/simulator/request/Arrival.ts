/**
 * Applies the faults that happen to a request before its turn: it is not read, or refused, or the connection has
 * forgotten.
 *
 * A list with such a fault is for the next request that arrives, even if that one is refused; the other faults of the
 * list are those of its turn, if one begins. None of this counts as an execution.
 */
import type { Fault } from "../Faults.ts"
import type { ErrorFault } from "../Refusal.ts"

export type ArrivalFault =
  /**
   * Ends the socket without having read the request, with a close frame where there is a code (over HTTP: no answer).
   */
  | { readonly _tag: "Unread"; readonly code?: number; readonly reason?: string }
  /** The connection reads this request and all later ones no more, but stays open (over HTTP: no answer ever). */
  | { readonly _tag: "Deaf" }
  /** The connection forgets the responses it kept, as after a failed turn; with `stored` they are deleted as well. */
  | { readonly _tag: "Forget"; readonly stored?: boolean }
  /** The connection counts as too old for another turn. Over HTTP it does nothing. */
  | { readonly _tag: "ConnectionLimit" }
  /** An error in place of the turn. */
  | ({ readonly _tag: "Refuse" } & ErrorFault)

const kinds = { Unread: true, Deaf: true, Forget: true, ConnectionLimit: true, Refuse: true } as const satisfies Record<
  ArrivalFault["_tag"],
  true
>

const isOfArrival = (fault: Fault | ArrivalFault): fault is ArrivalFault => fault._tag in kinds

/** The faults that a request meets. */
export interface Arrival {
  readonly unread: Extract<ArrivalFault, { readonly _tag: "Unread" }> | undefined
  readonly deaf: boolean
  readonly forget: Extract<ArrivalFault, { readonly _tag: "Forget" }> | undefined
  readonly limit: boolean
  readonly refuse: Extract<ArrivalFault, { readonly _tag: "Refuse" }> | undefined
  /** The faults of its turn; undefined: the turn takes them from the queue. */
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

/** What every request meets on a connection that does not read any more. */
export const unheard: Arrival = { ...peaceful, deaf: true }

/** Lists of faults that wait for their turn. */
export type FaultQueue = Array<ReadonlyArray<Fault | ArrivalFault>>

/** Takes the next list if it has a fault that comes before the turn. */
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

/** Takes the next list if all of its faults are a turn's. */
export const turnFaults = (queue: FaultQueue): ReadonlyArray<Fault> | undefined => {
  const next = queue[0]
  if (next === undefined || next.some(isOfArrival)) return undefined
  queue.shift()
  return next.filter((fault): fault is Fault => !isOfArrival(fault))
}
