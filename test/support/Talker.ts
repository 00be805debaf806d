/**
 * A TCP client that says only what it is told to, byte by byte.
 */
import type { Scope } from "effect"
import { Deferred, Effect } from "effect"
import { connect } from "node:net"

export interface Talker {
  /** A string is sent as UTF-8. */
  readonly say: (...parts: ReadonlyArray<string | Uint8Array>) => void
  /** Closes its own side only. */
  readonly end: () => void
  /** Closes the connection, as a client does that goes away. */
  readonly leave: () => void
  readonly received: () => Buffer
  readonly text: () => string
  /** All that has come once `what` holds of it, or the connection has closed. */
  readonly until: (what: (text: string) => boolean) => Effect.Effect<string>
  readonly isClosed: () => boolean
  /** All that has come once the connection has closed. */
  readonly closed: Effect.Effect<string>
}

/** Connects to the server of a URL; where it refuses, the connection has closed with nothing received. */
export const talker = (url: string): Effect.Effect<Talker, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Talker>((resume) => {
      const { hostname, port } = new URL(url)
      const parts: Array<Buffer> = []
      const looks = new Set<() => void>()
      const closed = Deferred.makeUnsafe<void>()
      const socket = connect({ host: hostname, port: Number(port), noDelay: true })
      const received = () => {
        if (parts.length > 1) parts.splice(0, parts.length, Buffer.concat(parts))
        return parts[0] ?? Buffer.alloc(0)
      }
      const text = () => received().toString()
      const made: Talker = {
        say: (...said) => void socket.write(Buffer.concat(said.map((part) => Buffer.from(part)))),
        end: () => void socket.end(),
        leave: () => void socket.destroy(),
        received,
        text,
        until: (what) =>
          Effect.callback((resume) => {
            const look = () => {
              if (what(text()) || socket.closed) resume(Effect.succeed(text()))
            }
            looks.add(look)
            look()
            return Effect.sync(() => looks.delete(look))
          }),
        isClosed: () => socket.closed,
        closed: Effect.map(Deferred.await(closed), text),
      }
      const look = () => looks.forEach((look) => look())
      socket.on("error", () => {})
      socket.on("data", (data) => {
        parts.push(Buffer.from(data))
        look()
      })
      socket.on("close", () => {
        Deferred.doneUnsafe(closed, Effect.void)
        look()
        resume(Effect.succeed(made))
      })
      socket.on("connect", () => resume(Effect.succeed(made)))
      return Effect.sync(() => socket.destroy())
    }),
    ({ leave }) => Effect.sync(leave),
  )

/** What a server says to this on a connection of its own, until it closes it. */
export const saidTo = (url: string, ...parts: ReadonlyArray<string | Uint8Array>): Effect.Effect<string> =>
  Effect.scoped(
    Effect.flatMap(talker(url), ({ closed, say }) => {
      say(...parts)
      return closed
    }),
  )
