/**
 * Finds names that were meant as settings and are none, and which setting may have been meant.
 */
import { ConfigProvider, Effect } from "effect"

interface Named {
  readonly name: string
  readonly value: string
}

/** Every value below a path; the provider knows names by their parts between underscores. */
const valuesBelow = (
  provider: ConfigProvider.ConfigProvider,
  path: ReadonlyArray<string>,
): Effect.Effect<ReadonlyArray<Named>> =>
  Effect.gen(function* () {
    const node = yield* Effect.orElseSucceed(provider.load([...path]), () => undefined)
    if (node === undefined) return []
    const here = node.value === undefined ? [] : [{ name: path.join("_"), value: node.value }]
    // Parts that are all numbers are told as a list's length, of which at least the end is there.
    const parts = node._tag === "Record" ? [...node.keys] : node._tag === "Array" ? [String(node.length - 1)] : []
    const below = yield* Effect.forEach(parts, (part) => valuesBelow(provider, [...path, part]))
    return [...here, ...below.flat()]
  })

/** `tcp://10.0.0.1:8080`, where an address of IPv6 has brackets. */
const serviceAddress = /^(tcp|udp|sctp):\/\/([\d.]+|\[[\da-f:.]+\]):\d+$/i

/** What Kubernetes sets in a container that runs beside a Service whose name begins with the prefix. */
const ofKubernetes = ({ name, value }: Named) =>
  /_SERVICE_(HOST|PORT(_.+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(name) ||
  (name.endsWith("_PORT") && serviceAddress.test(value))

export interface Names {
  /** The first that has a value, is no setting's, and is not set by Kubernetes. */
  readonly stray: string | undefined
  /** Those that Kubernetes sets; a setting's name may be among them. */
  readonly ofKubernetes: ReadonlyArray<string>
}

/** The names below the prefix that stand for no setting. */
export const strayNames = (
  provider: ConfigProvider.ConfigProvider,
  prefix: string,
  known: ReadonlyArray<string>,
): Effect.Effect<Names> =>
  Effect.map(valuesBelow(provider, [prefix]), (values) => ({
    stray: values.find((value) => !known.includes(value.name) && !ofKubernetes(value))?.name,
    ofKubernetes: values.filter(ofKubernetes).map(({ name }) => name),
  }))

/** The provider as if these names had no value. */
export const withoutNames = (
  provider: ConfigProvider.ConfigProvider,
  names: ReadonlyArray<string>,
): ConfigProvider.ConfigProvider =>
  ConfigProvider.make((path) => (names.includes(path.join("_")) ? Effect.undefined : provider.load(path.map(String))))

/** The word that takes the fewest letters put in and left out; small letters and capitals are the same. */
export const nearest = (word: string, words: ReadonlyArray<string>): string => {
  const distances = words.map((other) => distance(word.toLowerCase(), other.toLowerCase()))
  return words[distances.indexOf(Math.min(...distances))] ?? ""
}

const distance = (from: string, to: string): number => {
  let above = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (const [row, letter] of [...from].entries()) {
    const next = [row + 1]
    for (let column = 0; column < to.length; column++) {
      const shorter = Math.min(next[column] ?? 0, above[column + 1] ?? 0) + 1
      next.push(to[column] === letter ? (above[column] ?? 0) : shorter)
    }
    above = next
  }
  return above[to.length] ?? 0
}
