/**
 * The load of idle clients: sockets that are opened and held for as long as this process lives.
 */
import type { SocketsJob, SocketsResult } from "../Protocol.ts"
import { SocketConnection } from "./SocketConnection.ts"
import { control } from "./Turns.ts"

const held: Array<SocketConnection> = []

/** So many are opened at a time. */
const atOnce = 64

const body = Buffer.from('{"model":"gpt-5.5","stream":true,"store":false,"input":[{"role":"user","content":"hi"}]}')

export const openSockets = async ({ asks, headers, sockets, upstream, url }: SocketsJob): Promise<SocketsResult> => {
  await control(upstream, "POST", { kind: "message", deltas: 1, perSecond: 0, burst: true })
  let left = sockets
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) {
        const socket = await SocketConnection.open(url, headers)
        if (asks) await socket.ask("", body, false)
        held.push(socket)
      }
    }),
  )
  return { opened: sockets }
}
