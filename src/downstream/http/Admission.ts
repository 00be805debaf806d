/**
 * Admits requests while there is room: so many with a body at a time, and so many bytes of their bodies in memory.
 *
 * A request over either limit is answered 503 with `retry-after` at once. No request waits here, so there is no queue
 * to bound (Effect's `Semaphore` would let it wait). Bytes count from when they are announced or, where they are not,
 * as they arrive, until the place is given up: a turn keeps its body for as long as it may have to send it again.
 * Copies that a step makes while it runs are not counted.
 */
import { Context, Effect, Layer } from "effect"
import { Settings } from "../../config/Settings.ts"
import { ApiError } from "../ApiError.ts"

/** One request's place. The handler that entered must `release` it, and may do so more than once. */
export interface Place {
  /**
   * Tells how many bytes of the body are in memory now. False: there is no room for them, and the count is as before.
   */
  readonly holds: (bytes: number) => boolean
  readonly release: () => void
}

export class Admission extends Context.Service<
  Admission,
  {
    /** A place for a request with a body; 503 `server_overloaded` if all are taken. */
    readonly enter: Effect.Effect<Place, ApiError>
    /** How many places are taken, and how many bytes they hold. */
    readonly taken: () => { readonly places: number; readonly bytes: number }
  }
>()("respool/downstream/Admission") {
  static readonly layerNoDeps = Layer.effect(
    Admission,
    Effect.map(Settings, (settings) => make(settings)),
  )
}

const make = ({ maxBodies, maxTurns }: { readonly maxBodies: number; readonly maxTurns: number }) => {
  let places = 0
  let bytes = 0

  const enter = Effect.suspend(() => {
    if (places >= maxTurns) return Effect.fail(tooMany)
    places++
    let held = 0
    let over = false
    return Effect.succeed<Place>({
      holds: (now) => {
        if (over || (now > held && bytes - held + now > maxBodies)) return false
        bytes += now - held
        held = now
        return true
      },
      release: () => {
        if (over) return
        over = true
        places--
        bytes -= held
      },
    })
  })

  return Admission.of({ enter, taken: () => ({ places, bytes }) })
}

const tooMany = ApiError.unavailable("server_overloaded", "The server has as many requests as it can take.", 1)

/** The answer to a request for which there is no memory. */
export const tooMuch = ApiError.unavailable(
  "server_overloaded",
  "The server holds as many bytes of requests as it can take.",
  1,
)
