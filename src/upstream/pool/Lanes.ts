/**
 * The rules of turns that share a connection as lanes: how many there may be, which of them the socket waits for, and
 * what becomes of one that ends badly.
 *
 * Every lane has a name of its own, the first one too: then what comes without a name is the connection's, and no lane's.
 * A name is used by one chain only, so nothing that comes late can be taken for another chain's.
 */
import type { Chain, EvictReason, Lane, Open, Shared, Worth } from "./ConnectionState.ts"

/** The API's own limits (docs/protocol.md 1.4). */
const maxNames = 32
const maxRunning = 16

/** What is not heard of a turn that is gone: for so long, in milliseconds, and so much, in UTF-16 units. */
const drainsFor = 30_000
const drainsUpTo = 4 * 1024 * 1024

export const makeShared = (proved: boolean): Shared => ({ byName: new Map(), opened: 0, proved, retired: false })

export const nextLane = (shared: Shared): Lane => ({
  name: `r${++shared.opened}`,
  sent: false,
  running: false,
  waiting: undefined,
  size: 0,
})

const inUse = ({ chains }: Open) => chains.filter(({ state }) => state._tag !== "Idle").length

/** Whether one more turn may run on the connection. */
export const mayRun = (open: Open): boolean =>
  open.shared === undefined || (!open.shared.retired && inUse(open) < maxRunning)

/** Whether the connection can have one more lane. */
export const hasRoom = (open: Open): boolean =>
  open.shared !== undefined && open.shared.proved && open.shared.opened < maxNames && mayRun(open)

/** A broken socket or protocol, and what nobody asked for, say something about the whole connection. */
const ofAll: ReadonlySet<EvictReason> = new Set(["protocol", "unsolicited", "overflow", "closed"])

/**
 * What becomes of a lane whose turn ends as `reason` says. `evict`: the connection goes with it, which is the only way
 * to make the upstream stop; so it does where no other chain would lose anything. `idle`: as it was before the lease.
 */
export const fateOf = (
  open: Open,
  chain: Chain,
  lane: Lane,
  reason: EvictReason,
): "evict" | "idle" | "gone" | "drain" => {
  const isOfWorth = ({ state, worth }: Chain) => state._tag === "Leased" || (state._tag === "Idle" && worth !== "none")
  if (ofAll.has(reason) || !open.chains.some((other) => other !== chain && isOfWorth(other))) return "evict"
  if (!lane.sent) return "idle"
  return lane.running ? "drain" : "gone"
}

/** Whether the upstream is still to be let finish a turn that is gone. */
export const drainsOn = ({ lane, state }: Chain, now: number): boolean =>
  state._tag !== "Draining" || (now - state.since < drainsFor && (lane?.size ?? 0) <= drainsUpTo)

/** Whether the socket has to wait: every turn that uses it is behind. One that is not must not wait for the others. */
export const isBehind = ({ chains }: Open): boolean => {
  const leased = chains.filter(({ state }) => state._tag === "Leased")
  return leased.length > 0 && leased.every(({ lane }) => lane?.waiting !== undefined)
}

/** The chain with the turn counted that it has completed. */
export const counted = (chain: Chain, worth: Worth): Chain => {
  chain.turns = worth === "none" ? 0 : worth === "once" ? 1 : chain.turns + 1
  return chain
}
