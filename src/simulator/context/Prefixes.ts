/**
 * Remembers every prefix of every conversation seen, to tell what of a context is new and what a prompt cache would
 * hold.
 */
import { hash64 } from "../Hash.ts"
import type { CreateRequest } from "../request/CreateRequest.ts"
import { byteLength } from "../JsonText.ts"
import type { Entry, Sighting, SimulatorState } from "../SimulatorState.ts"
import { cachedTokensOf, tokensOf } from "./Usage.ts"

export interface Measured {
  readonly seen: Seen
  /** See `Counters.neededBytes`. */
  readonly neededBytes: number
  readonly inputTokens: number
  readonly cachedTokens: number
}

const step = (digest: bigint, unit: bigint): bigint => hash64(`${digest}:${unit}`, 13n)

const preambleBytes = (request: CreateRequest): number =>
  byteLength(request.raw("instructions") ?? "") + byteLength(request.raw("tools") ?? "")

/** A digest of what a prompt begins with before its items; where it changes, the cache holds nothing. */
const preambleOf = (request: CreateRequest): bigint =>
  hash64(`${request.raw("instructions")} ${request.raw("tools")} ${request.raw("reasoning")}`, 17n)

/** The first `length` entries and the digest of what they say. */
export interface Seen {
  readonly length: number
  readonly digest: bigint
}

export const nothingSeen: Seen = { length: 0, digest: 0n }

/** Notes that this connection has seen every prefix beyond `from`, and says how far they were known before. */
const walk = (
  state: SimulatorState,
  entries: ReadonlyArray<Entry>,
  from: Seen,
  sighting: Sighting,
): { readonly seen: Seen; readonly known: number; readonly last: Sighting | undefined } => {
  let digest = from.digest
  let known = from.length
  let unbroken = true
  let last = state.sightings.get(digest)
  for (let index = from.length; index < entries.length; index++) {
    const entry = entries[index]
    if (entry === undefined) break
    for (const unit of entry.facts.units) {
      digest = step(digest, unit)
      const sighted = state.sightings.get(digest)
      if (sighted === undefined) unbroken = false
      else if (unbroken) last = sighted
      state.sightings.set(digest, sighting)
    }
    if (unbroken && (entry.facts.units.length > 0 || state.issued.has(String(entry.value.id)))) known = index + 1
  }
  return { seen: { length: entries.length, digest }, known, last }
}

/** Measures a context before its turn and remembers it; `from` is the chain it continues, which is known. */
export const measure = (
  state: SimulatorState,
  request: CreateRequest,
  entries: ReadonlyArray<Entry>,
  from: Seen,
  connection: number,
): Measured => {
  const preamble = preambleOf(request)
  const { known, last, seen } = walk(state, entries, from, { connection, preamble })
  const neededBytes = request.items.reduce(
    (sum, item, index) => (from.length + index < known ? sum : sum + item.bytes + 1),
    request.otherBytes,
  )
  let totalBytes = preambleBytes(request)
  let knownBytes = totalBytes
  for (const [index, { bytes }] of entries.entries()) {
    totalBytes += bytes
    if (index < known) knownBytes += bytes
  }
  const sameConnection = connection >= 0 && last?.connection === connection
  return {
    seen,
    neededBytes,
    inputTokens: tokensOf(totalBytes),
    cachedTokens: known === 0 || last?.preamble !== preamble ? 0 : cachedTokensOf(knownBytes, sameConnection),
  }
}

/** Remembers what a measured context became with the turn's output. */
export const remember = (
  state: SimulatorState,
  request: CreateRequest,
  entries: ReadonlyArray<Entry>,
  from: Seen,
  connection: number,
): Seen => walk(state, entries, from, { connection, preamble: preambleOf(request) }).seen
