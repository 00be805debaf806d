/**
 * Finds the node that has a session: the one where its first turn came in, wherever the later ones do.
 *
 * Every node computes alike which one keeps that in mind (its keeper, by the ring), and asks it once: at the first turn of
 * a session that comes in here. A balancer that brings a session's turns to one node so has them all run there. What was
 * told holds until the keeper is another one, has started anew or says that sessions have moved; then it is asked again,
 * and told what was known, so that a keeper that knows nothing learns it from whoever asks first.
 *
 * A keeper that does not answer costs cache alone: the turn runs where it was known to, else here.
 */
import { Effect, Option } from "effect"
import { hash } from "node:crypto"
import type { Node, Nodes } from "../Nodes.ts"
import { asked } from "../sealed/Question.ts"
import type { Sealing } from "../sealed/Sealing.ts"
import type { Directory } from "./Directory.ts"
import { maxPlaces, placePath } from "./Directory.ts"

interface Place {
  readonly holder: string
  readonly keeper: string
  readonly boot: string | undefined
  readonly moved: number
  /** In milliseconds of the monotonic clock. */
  askedAt: number
}

/** For how long a turn waits for the keeper. */
const within = "700 millis"

/** A keeper that has not answered is left alone for so long: by then it is known whether it lives. In milliseconds. */
const aloneFor = 1_000

/** A keeper is reminded so often of a session that goes on, so that it forgets those that do not; in milliseconds. */
const remindEvery = 60_000

export const make = (
  nodes: Nodes["Service"],
  sealing: Sealing,
  directory: Directory,
  now: () => number,
  fork: (effect: Effect.Effect<unknown>) => void,
) => {
  const places = new Map<string, Place>()
  /** Until when, of keepers. */
  const silent = new Map<string, number>()

  const note = (key: string, place: Place): string => {
    places.delete(key)
    places.set(key, place)
    const [oldest] = places.keys()
    if (oldest !== undefined && places.size > maxPlaces) places.delete(oldest)
    return place.holder
  }

  /** Undefined: the keeper does not say. One that has started anew is asked once more. */
  const ask = (key: string, keeper: string, claims: string, again = true): Effect.Effect<string | undefined> =>
    Effect.gen(function* () {
      if ((silent.get(keeper) ?? 0) > now()) return undefined
      const node = yield* nodes.reach(keeper)
      const { boot, moved } = node
      if (boot === undefined) return undefined
      const question = JSON.stringify({ key, claims })
      const answer = yield* Effect.timeoutOption(
        Effect.promise((signal) => asked(sealing, node, boot, placePath, question, signal)),
        within,
      )
      if (Option.isNone(answer)) {
        silent.set(keeper, now() + aloneFor)
        fork(nodes.askAnew(keeper))
        return undefined
      }
      const holder = answer.value
      if (holder !== undefined) return note(key, { holder, keeper, boot, moved, askedAt: now() })
      nodes.refused(node, "restarted")
      return again ? yield* ask(key, keeper, claims, false) : undefined
    }).pipe(Effect.orElseSucceed(() => undefined))

  const isTold = (place: Place, keeper: string, node: Node | undefined): boolean =>
    node !== undefined && place.keeper === keeper && place.boot === node.boot && place.moved >= node.moved

  return Effect.fnUntraced(function* (session: string) {
    const { self } = nodes
    const ring = nodes.ring()
    const lives = (name: string) => ring.names.includes(name)
    // A name may be as long as a header, and both maps are full of them.
    const key = hash("sha256", session, "base64url")
    const keeper = ring.ownerOf(session) ?? self
    const known = places.get(key)
    const claims = known !== undefined && lives(known.holder) ? known.holder : self
    if (keeper === self) {
      const holder = directory.holderOf({ key, claims }, lives)
      return note(key, { holder, keeper, boot: undefined, moved: 0, askedAt: now() })
    }
    if (known !== undefined && lives(known.holder) && isTold(known, keeper, nodes.named(keeper))) {
      if (now() - known.askedAt > remindEvery) {
        known.askedAt = now()
        fork(ask(key, keeper, claims))
      }
      return known.holder
    }
    const holder = (yield* ask(key, keeper, claims)) ?? claims
    return lives(holder) ? holder : self
  })
}
