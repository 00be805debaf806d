/**
 * Says which node has a session, for the sessions whose keeper this node is: the first that says it has one, for as long as
 * it is there.
 *
 * It goes with the process and forgets the sessions that were asked for longest ago. Nothing depends on it but cache:
 * where it has forgotten, whoever asks next has the session, and sends one request in full.
 */
import { Schema } from "effect"

export const placePath = "/respool/place"

/** Of a session: what stands for its key, and which node has it if none is known to. */
const Claim = Schema.fromJsonString(Schema.Struct({ key: Schema.String, claims: Schema.String }))
export type Claim = typeof Claim.Type
const read = Schema.decodeUnknownOption(Claim)

export const readClaim = (text: string): Claim | undefined => {
  const claim = read(text)
  return claim._tag === "Some" ? claim.value : undefined
}

/** So many sessions are known: of a node that keeps 4,000 by itself those of eight. */
export const maxPlaces = 32_768

export class Directory {
  readonly #holders = new Map<string, string>()
  #moved = 0

  /** How many sessions have another node than one that others may still take for theirs. */
  get moved(): number {
    return this.#moved
  }

  /** Which node has the session from now on. */
  holderOf({ claims, key }: Claim, lives: (name: string) => boolean): string {
    const before = this.#holders.get(key)
    const holder = before !== undefined && (before === claims || lives(before)) ? before : claims
    if (before !== undefined && before !== holder) this.#moved++
    // Behind all others: it is the latest that was asked for.
    this.#holders.delete(key)
    this.#holders.set(key, holder)
    const [oldest] = this.#holders.keys()
    if (oldest !== undefined && this.#holders.size > maxPlaces) this.#holders.delete(oldest)
    return holder
  }
}
