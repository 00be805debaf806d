/**
 * What lies between two nodes: a relay of connections that can break them, fall silent, and send again what it carried.
 */
import { Effect } from "effect"
import { connect, createServer } from "node:net"
import type { AddressInfo, Socket } from "node:net"

export interface NodeRelay {
  /** `http://127.0.0.1:PORT`, which leads to what it stands in front of. */
  readonly address: string
  /** Resets every connection that is open. */
  readonly reset: Effect.Effect<void>
  /** From now on no connection is taken; those that are open stay. */
  readonly refuse: Effect.Effect<void>
  /** From now on nothing gets through, in either direction, and connections stay open. */
  readonly silence: Effect.Effect<void>
  /** What was sent through it to the other side, one connection after the other, and what came back. */
  readonly carried: ReadonlyArray<Buffer>
  readonly returned: ReadonlyArray<Buffer>
  /** From now on bytes that come back are changed by this. */
  readonly alter: (change: (piece: Buffer) => Buffer) => Effect.Effect<void>
}

export const relayTo = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly relay: NodeRelay; readonly close: () => void }>((resume) => {
      const open = new Set<Socket>()
      const carried: Array<Buffer> = []
      const returned: Array<Buffer> = []
      let silent = false
      let altered = (piece: Buffer) => piece
      const server = createServer({ pauseOnConnect: true }, (near) => {
        const far = connect(port, "127.0.0.1")
        // What comes before the other side is there must not be lost.
        far.once("connect", () => near.resume())
        const index = carried.push(Buffer.alloc(0)) - 1
        for (const [from, to] of [
          [near, far],
          [far, near],
        ] as const) {
          open.add(from)
          from.on("error", () => to.destroy())
          from.on("close", () => {
            open.delete(from)
            if (!silent) to.destroy()
          })
          from.on("data", (piece: Buffer) => {
            if (silent) return
            const told = from === near ? piece : altered(piece)
            const kept = from === near ? carried : returned
            kept[index] = Buffer.concat([kept[index] ?? Buffer.alloc(0), told])
            to.write(told)
          })
        }
      })
      server.listen(0, "127.0.0.1", () => {
        const reset = () => {
          for (const socket of open) socket.resetAndDestroy()
        }
        const relay: NodeRelay = {
          address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
          reset: Effect.sync(reset),
          refuse: Effect.sync(() => void server.close()),
          silence: Effect.sync(() => {
            silent = true
          }),
          carried,
          returned,
          alter: (change) =>
            Effect.sync(() => {
              altered = change
            }),
        }
        const close = () => {
          for (const socket of open) socket.destroy()
          server.close()
        }
        resume(Effect.succeed({ relay, close }))
      })
    }),
    ({ close }) => Effect.sync(close),
  ).pipe(Effect.map(({ relay }) => relay))

/** Sends bytes to a port as they are, and gives the head of what comes back. */
export const sendRaw = (port: number, bytes: Uint8Array) =>
  Effect.callback<string>((resume) => {
    let text = ""
    const socket = connect(port, "127.0.0.1", () => void socket.write(bytes))
    socket.on("data", (piece) => {
      text += piece.toString("latin1")
      if (!text.includes("\r\n\r\n")) return
      const [head = "", rest = ""] = text.split("\r\n\r\n")
      // A short answer comes in one piece with its head.
      resume(Effect.succeed(`${/ (\d{3}) /.exec(head)?.[1]} ${rest.trim()}`))
      socket.destroy()
    })
    socket.on("error", () => resume(Effect.succeed("broken")))
    return Effect.sync(() => socket.destroy())
  })
