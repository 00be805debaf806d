/**
 * Says which node owns a session: every node computes the same, from the names of the nodes that are there.
 *
 * A node that comes or goes moves only its own share of the sessions.
 */
import { HashRing, PrimaryKey } from "effect"
import { hash } from "node:crypto"

interface Place extends PrimaryKey.PrimaryKey {
  readonly name: string
}

const digest = (text: string): string => hash("sha256", text, "base64url")

/** In so many places on the ring a node stands, so that each has about the same share. */
const placesOfNode = 256

/**
 * The places are digests, each with a weight of one: the ring's own places of a node differ in the last digits only, and
 * its hash puts those close to each other, so that of four nodes one had less than half of its share.
 */
const placesOf = (name: string): ReadonlyArray<Place> =>
  Array.from({ length: placesOfNode }, (_, index) => {
    const place = digest(`${name} ${index}`)
    return { name, [PrimaryKey.symbol]: () => place }
  })

export interface Ring {
  readonly names: ReadonlyArray<string>
  /** Undefined: there is no node. */
  readonly ownerOf: (key: string) => string | undefined
}

export const ringOf = (names: Iterable<string>): Ring => {
  const sorted = [...new Set(names)].sort()
  const ring = HashRing.make<Place>({ baseWeight: 1 })
  HashRing.addMany(ring, sorted.flatMap(placesOf))
  return { names: sorted, ownerOf: (key) => HashRing.get(ring, digest(key))?.name }
}
