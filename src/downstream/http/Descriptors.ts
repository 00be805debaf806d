/**
 * Keeps clients that are idle from taking every descriptor of the process, of which turns and dials need some.
 *
 * `Bun.serve` tells of no connection before its request, counts none, and closes none that never sent one but by its
 * own 12 s; `closeIdleConnections` passes those over, and `node:http`, which tells of each, takes pipelined requests.
 * So the number of open descriptors is asked for (20 to 50 µs) before strangers can have opened all that were left (`restFor`:
 * an idle process wakes once a second, or a few times where the limit is low), and only when there are too many are the
 * listener's connections looked at, in slices, by system calls through `bun:ffi`: those that no request is on are
 * shut down, the ones that were never answered first, and of each kind the longest quiet. Bun then closes them as if
 * the client had left. (Bun 1.4.5. At the limit itself Bun spins on `accept`, and its `fetch` ends the process
 * where its thread could not be started, which is why that is started here.)
 *
 * Where the system is no Linux of 6.2 or later with glibc or musl, or forbids `bun:ffi`, nothing is shed.
 */
import { Effect } from "effect"
import { readFileSync, statSync } from "node:fs"
import { setImmediate, setTimeout } from "node:timers/promises"
import { proxyOfFetch } from "../../config/ProxyRules.ts"
import type { Client, Connections } from "./SystemCalls.ts"
import { systemCalls } from "./SystemCalls.ts"
import { network } from "../Network.ts"

/** How long the process is let be, in milliseconds: no less, however few are left, and no longer, however many. */
const shortestRest = 50
const longestRest = 1000

/** So many connections come in a millisecond at the very most: on loopback 63 were seen (Bun 1.4.5). */
const fastest = 100

/** How long nobody can have opened all descriptors that are left, in milliseconds. */
export const restFor = (open: number, descriptors: number | undefined): number =>
  Math.max(shortestRest, Math.min(longestRest, Math.floor(((descriptors ?? Infinity) - open) / fastest)))

export interface Limits {
  /** Connections in all, and of one address (of one IPv6 network). */
  readonly all: number
  readonly perAddress: number
}

/**
 * The connections to shed, so that no more than three quarters of a limit that is passed are left: of those that are
 * not busy, first the ones that were never answered, then the longest quiet.
 */
export const toShed = (
  clients: ReadonlyArray<Client>,
  isBusy: (client: Client) => boolean,
  limits: Limits,
): ReadonlyArray<Client> => {
  const idle = clients
    .filter((client) => !isBusy(client))
    .sort((a, b) => Number(a.answered) - Number(b.answered) || b.quiet - a.quiet)
  const counts = new Map<string, number>()
  for (const { address } of clients) counts.set(network(address), (counts.get(network(address)) ?? 0) + 1)
  const room = (count: number, limit: number) => (count > limit ? count - Math.floor(limit * 0.75) : 0)
  const over = new Map([...counts].map(([name, count]) => [name, room(count, limits.perAddress)]))
  let left = room(clients.length, limits.all)
  const shed: Array<Client> = []
  const kept: Array<Client> = []
  for (const client of idle) {
    const name = network(client.address)
    const more = over.get(name) ?? 0
    if (more <= 0) {
      kept.push(client)
      continue
    }
    over.set(name, more - 1)
    left--
    shed.push(client)
  }
  return left > 0 ? [...shed, ...kept.slice(0, left)] : shed
}

/** How many descriptors the process may have; undefined: the system does not say. */
const descriptorLimit = (): number | undefined => {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))
    return found?.[1] === undefined ? undefined : Number(found[1])
  } catch {
    return undefined
  }
}

/** How many are open: Linux 6.2 says it as the size of the folder; before, it is 0, and nothing is shed by it. */
const openDescriptors = (): number => {
  try {
    return statSync("/proc/self/fd").size
  } catch {
    return 0
  }
}

/**
 * Of the descriptors half are for clients, less a few, since a turn may need one on either side.
 */
export const limitsWithin = (limits: Limits, descriptors: number | undefined): Limits => {
  if (descriptors === undefined) return limits
  const all = Math.max(8, Math.min(limits.all, Math.floor(descriptors / 2) - 16))
  return { all, perAddress: Math.min(limits.perAddress, all) }
}

export interface Watched {
  readonly port: number
  readonly limits: Limits
  /** Whether a request of this peer (address and port) is under way. */
  readonly isBusy: (peer: string) => boolean
}

/**
 * Watches for as long as the scope, by the platform's own timer: descriptors are real, whatever clock a test owns.
 */
export const watch = ({ isBusy, limits, port }: Watched) =>
  Effect.gen(function* () {
    startFetching()
    const log = Effect.runForkWith(yield* Effect.context<never>())
    const sockets = yield* Effect.promise(systemCalls)
    if (sockets === undefined) return
    const descriptors = descriptorLimit()
    const within = limitsWithin(limits, descriptors)
    const few = Math.min(within.all, within.perAddress)
    const step = Math.max(8, Math.floor(few / 8))
    let [peak, after, lookedAt, looking, said] = [0, 0, 0, false, false]

    const look = async () => {
      const last = Math.min(descriptors ?? Infinity, peak + 4096)
      const clients = await found(sockets, port, last)
      const shed = toShed(clients, ({ peer }) => isBusy(peer), within)
      const others = slices()
      for (const [index, { fd, peer }] of shed.entries()) {
        // By now it may have closed, and its number may be another's.
        if (sockets.clientAt(fd, port)?.peer === peer && !isBusy(peer)) sockets.shutDown(fd)
        if (index % 32 === 31) await others()
      }
      if (shed.length > 0 && !said) {
        said = true
        log(tooMany(clients.length, shed.length, within))
      }
      await setImmediate()
      after = openDescriptors()
      lookedAt = performance.now()
      looking = false
    }

    yield* Effect.acquireRelease(
      Effect.sync(() =>
        repeatedly(() => {
          const open = openDescriptors()
          const rest = restFor(open, descriptors)
          peak = Math.max(peak, open)
          after = Math.min(after, open)
          // Where most are busy there is little to shed, and every look takes some milliseconds.
          if (looking || open <= few || (open < after + step && performance.now() - lookedAt < againAfter)) return rest
          looking = true
          void look()
          return rest
        }),
      ),
      (stop) => Effect.sync(stop),
    )
  })

/** `look` says in how many milliseconds it is called again. */
const repeatedly = (look: () => number) => {
  const stop = new AbortController()
  const looking = async () => {
    for (;;) await setTimeout(look(), undefined, { ref: false, signal: stop.signal })
  }
  // It ends by the abort.
  looking().catch(() => {})
  return () => stop.abort()
}

const tooMany = (open: number, closed: number, { all, perAddress }: Limits) =>
  Effect.logWarning("too many connections of clients: idle ones are closed (said once)").pipe(
    Effect.annotateLogs({ open, closed, atMost: all, ofOneAddress: perAddress }),
  )

/** So long after a look another one comes without any growth, in milliseconds. */
const againAfter = 5_000

/** So long at a time other work waits for this, in milliseconds. */
const slice = 10

/** Lets other work go on once a slice is over. */
const slices = () => {
  let until = performance.now() + slice
  return async () => {
    if (performance.now() < until) return
    await setImmediate()
    until = performance.now() + slice
  }
}

const found = async (sockets: Connections, port: number, last: number) => {
  const clients: Array<Client> = []
  const others = slices()
  for (let fd = 0; fd < last; fd++) {
    const client = sockets.clientAt(fd, port)
    if (client !== undefined) clients.push(client)
    if (fd % 32 === 31) await others()
  }
  return clients
}

let fetching = false

/** Starts the thread of `fetch`, once, by a request that goes nowhere, and to no proxy. */
const startFetching = () => {
  if (fetching) return
  fetching = true
  const init = { signal: AbortSignal.timeout(1_000), proxy: proxyOfFetch(undefined) } as RequestInit
  fetch("http://127.0.0.1:1/", init).catch(() => {})
}
