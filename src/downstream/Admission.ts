/**
 * Admits requests while there is room: so many with a body at a time, and so many bytes of their bodies in memory, of
 * which no scope and no address holds more than a share.
 *
 * A request over a limit is answered 503 with `retry-after` at once. No request waits here, so there is no queue to
 * bound (Effect's `Semaphore` would let it wait). Bytes count as they arrive, and never because they were announced,
 * until the place is given up: a turn keeps its body for as long as it may have to send it again. Copies that a step
 * makes while it runs are not counted.
 *
 * A scope alone would bound nobody where callers bring their own credentials, since anybody can make one up; so the
 * address is counted beside it.
 */
import { Context, Effect, Layer, Option } from "effect"
import type { HttpServerRequest } from "effect/http"
import { Settings } from "../config/Settings.ts"
import { ApiError } from "./ApiError.ts"
import { network } from "./Network.ts"

/** One request's place. The handler that entered must `release` it, and may do so more than once. */
export interface Place {
  /**
   * Tells how many bytes of the body are in memory now. False: there is no room for them, and the count is as before.
   */
  readonly holds: (bytes: number) => boolean
  readonly release: () => void
}

/** Whose request it is, as far as it is known. */
export interface Entering {
  readonly scope: string | undefined
  /** The client's address; undefined: the server does not tell it. */
  readonly address: string | undefined
}

interface Held {
  places: number
  bytes: number
}

export class Admission extends Context.Service<
  Admission,
  {
    /** A place for a request with a body; 503 `server_overloaded` if all are taken, or all of the caller's share. */
    readonly enter: (who: Entering) => Effect.Effect<Place, ApiError>
    /** How many places are taken, and how many bytes they hold. */
    readonly taken: () => { readonly places: number; readonly bytes: number }
    /** How many scopes and addresses are counted; none that holds nothing is. */
    readonly counted: () => number
  }
>()("respool/downstream/Admission") {
  static readonly layerNoDeps = Layer.effect(
    Admission,
    Effect.map(Settings, (settings) => make(settings)),
  )
}

/** What is known of a request's sender, once its caller is. */
export const entering = (request: HttpServerRequest.HttpServerRequest, scope: string | undefined): Entering => ({
  scope,
  address: addressOf(request),
})

/** The address that a request came from; undefined: the server does not tell it. */
export const addressOf = ({ remoteAddress }: HttpServerRequest.HttpServerRequest): string | undefined =>
  Option.getOrUndefined(remoteAddress)

interface Limits {
  readonly maxBodies: number
  readonly maxBodiesPerCaller: number
  readonly maxTurns: number
  readonly maxTurnsPerCaller: number
}

const make = ({ maxBodies, maxBodiesPerCaller, maxTurns, maxTurnsPerCaller }: Limits) => {
  const all: Held = { places: 0, bytes: 0 }
  const shares = new Map<string, Held>()

  const shareOf = (name: string): Held => {
    const known = shares.get(name)
    if (known !== undefined) return known
    const share = { places: 0, bytes: 0 }
    shares.set(name, share)
    return share
  }

  const enter = ({ address, scope }: Entering) =>
    Effect.suspend(() => {
      if (all.places >= maxTurns) return Effect.fail(tooMany)
      const names: Array<string> = []
      if (scope !== undefined) names.push(`scope ${scope}`)
      if (address !== undefined) names.push(`address ${network(address)}`)
      if (names.some((name) => (shares.get(name)?.places ?? 0) >= maxTurnsPerCaller)) return Effect.fail(tooManyOfOne)
      const mine = names.map(shareOf)
      all.places++
      for (const share of mine) share.places++
      let held = 0
      let over = false
      return Effect.succeed<Place>({
        holds: (now) => {
          const more = now - held
          if (over) return false
          if (more > 0) {
            if (all.bytes + more > maxBodies) return false
            if (mine.some(({ bytes }) => bytes + more > maxBodiesPerCaller)) return false
          }
          all.bytes += more
          for (const share of mine) share.bytes += more
          held = now
          return true
        },
        release: () => {
          if (over) return
          over = true
          all.places--
          all.bytes -= held
          for (const [index, share] of mine.entries()) {
            share.places--
            share.bytes -= held
            if (share.places === 0) shares.delete(names[index] ?? "")
          }
        },
      })
    })

  return Admission.of({ enter, taken: () => ({ ...all }), counted: () => shares.size })
}

const tooMany = ApiError.unavailable("server_overloaded", "The server has as many requests as it can take.", 1)

const tooManyOfOne = ApiError.unavailable(
  "server_overloaded",
  "The server has as many requests of this caller or its address as it takes of one.",
  1,
)

/** The answer to a request for which there is no memory. */
export const tooMuch = ApiError.unavailable(
  "server_overloaded",
  "The server holds as many bytes of requests as it can take, of all or of this caller or its address.",
  1,
)
