/**
 * A TCP connection between two processes that a test can cut, delay, reset or refuse, in one way or both.
 *
 * What is cut is held back and comes once it is healed, as from a network that sends again what was lost.
 */
import { Effect } from "effect"
import type { Socket } from "node:net"
import { connect, createServer } from "node:net"
import { setTimeout } from "node:timers/promises"

/** `there` is from who connects to who listens. */
export type Way = "there" | "back"

interface Relay {
  readonly port: number
  readonly cut: (...ways: ReadonlyArray<Way>) => void
  /** Milliseconds that each piece takes, both ways. */
  readonly delay: (millis: number) => void
  /** Ends all connections that there are, with a reset. */
  readonly reset: () => void
  /** True: no new connection is taken. */
  readonly refuse: (on: boolean) => Effect.Effect<void>
  /** Neither cut nor delayed nor refused any more. */
  readonly heal: Effect.Effect<void>
}

interface Half {
  readonly way: Way
  readonly from: Socket
  readonly to: Socket
}

/** To a port on loopback, which may not listen yet. Ends with the scope. */
export const relay = Effect.fnUntraced(function* (target: number) {
  const halves = new Set<Half>()
  const cut = new Set<Way>()
  let millis = 0

  const flow = ({ from, way }: Half) => void (cut.has(way) ? from.pause() : from.resume())

  const carry = (half: Half) => {
    const { from, to, way } = half
    let last: Promise<unknown> = Promise.resolve()
    /** In order, whatever the delay was when each began. */
    const later = (act: () => void) => {
      const wait = millis
      last = last.then(() => (wait === 0 ? undefined : setTimeout(wait))).then(act)
    }
    from.on("data", (data) => later(() => void (to.destroyed || to.write(data))))
    from.on("end", () => later(() => void (to.destroyed || to.end())))
    from.on("error", () => {})
    from.on("close", () => {
      halves.delete(half)
      // While the way is cut the other side does not hear of it.
      const tell = () => {
        if (to.destroyed) return
        if (cut.has(way)) waiting.add(tell)
        else to.destroy()
      }
      later(tell)
    })
    halves.add(half)
    flow(half)
  }
  const waiting = new Set<() => void>()

  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({
      port: target,
      host: "127.0.0.1",
      allowHalfOpen: true,
      noDelay: true,
    })
    client.setNoDelay(true)
    carry({ way: "there", from: client, to: upstream })
    carry({ way: "back", from: upstream, to: client })
  })
  const listen = (port: number) =>
    Effect.callback<number>((resume) => {
      server.listen(port, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    })
  const reset = () => {
    for (const { from } of halves) from.resetAndDestroy()
  }
  const port = yield* Effect.acquireRelease(listen(0), () =>
    Effect.sync(() => {
      reset()
      server.close()
    }),
  )
  const refuse = (on: boolean) =>
    Effect.suspend(() => {
      if (on === !server.listening) return Effect.void
      if (!on) return Effect.asVoid(listen(port))
      return Effect.sync(() => void server.close())
    })
  const made: Relay = {
    port,
    cut: (...ways) => {
      for (const way of ways) cut.add(way)
      halves.forEach(flow)
    },
    delay: (value) => {
      millis = value
    },
    reset,
    refuse,
    heal: Effect.suspend(() => {
      cut.clear()
      millis = 0
      halves.forEach(flow)
      for (const tell of waiting) tell()
      waiting.clear()
      return refuse(false)
    }),
  }
  return made
})
