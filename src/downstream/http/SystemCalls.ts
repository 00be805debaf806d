/**
 * Asks the system about the process's sockets, and shuts some down, where Bun offers neither: Linux only, by `bun:ffi`.
 */
import type * as Ffi from "bun:ffi"

/** One connection of a client, as the system sees it. */
export interface Client {
  readonly fd: number
  /** Address and port. */
  readonly peer: string
  readonly address: string
  /** Whether anything was ever sent to the client. */
  readonly answered: boolean
  /** Since when nothing came from it, in milliseconds. */
  readonly quiet: number
}

export interface Connections {
  /** The connection of a client to this port of ours; undefined: the descriptor is none. */
  readonly clientAt: (fd: number, port: number) => Client | undefined
  /** Ends it in both directions; the descriptor stays its owner's to close. */
  readonly shutDown: (fd: number) => void
}

const inet = 2
const inet6 = 10
const tcp = 6
const tcpInfo = 11
/** Offsets in Linux's `struct tcp_info`, which only grows at its end. */
const lastDataReceived = 52
const bytesAcknowledged = 120
const infoBytes = 136

/** Undefined: the system, or the runtime, has none of this. */
export const systemCalls = async (): Promise<Connections | undefined> => {
  if (process.platform !== "linux" || process.versions["bun"] === undefined) return undefined
  const ffi = await import("bun:ffi")
  for (const name of ["libc.so.6", "libc.so"]) {
    try {
      return opened(ffi, name)
    } catch {
      // The next one, or none.
    }
  }
  return undefined
}

const opened = ({ dlopen, ptr }: Pick<typeof Ffi, "dlopen" | "ptr">, name: string): Connections => {
  const { symbols } = dlopen(name, {
    shutdown: { args: ["int", "int"], returns: "int" },
    getsockname: { args: ["int", "ptr", "ptr"], returns: "int" },
    getpeername: { args: ["int", "ptr", "ptr"], returns: "int" },
    getsockopt: { args: ["int", "int", "int", "ptr", "ptr"], returns: "int" },
  })
  const bytes = new Uint8Array(256)
  const length = new Uint32Array(1)
  const view = new DataView(bytes.buffer)
  const [toBytes, toLength] = [ptr(bytes), ptr(length)]

  return {
    clientAt: (fd, port) => {
      length[0] = bytes.length
      if (symbols.getsockname(fd, toBytes, toLength) !== 0) return undefined
      const family = view.getUint16(0, true)
      if ((family !== inet && family !== inet6) || view.getUint16(2) !== port) return undefined
      length[0] = bytes.length
      if (symbols.getpeername(fd, toBytes, toLength) !== 0) return undefined
      const address = addressIn(view, family)
      const peer = peerOf(address, view.getUint16(2))
      length[0] = infoBytes
      if (symbols.getsockopt(fd, tcp, tcpInfo, toBytes, toLength) !== 0) return undefined
      const quiet = view.getUint32(lastDataReceived, true)
      return { fd, peer, address, quiet, answered: view.getBigUint64(bytesAcknowledged, true) > 1n }
    },
    shutDown: (fd) => void symbols.shutdown(fd, 2),
  }
}

/** How a peer is named here: its port first, which tells most of them apart. */
export const peerOf = (address: string, port: number): string => `${port} ${address.replace(/^::ffff:(?=\d+\.)/i, "")}`

const addressIn = (view: DataView, family: number): string => {
  if (family === inet) return [4, 5, 6, 7].map((at) => view.getUint8(at)).join(".")
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(8 + 2 * index))
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMapped) return [20, 21, 22, 23].map((at) => view.getUint8(at)).join(".")
  return new URL(`http://[${groups.map((group) => group.toString(16)).join(":")}]`).hostname.slice(1, -1)
}
