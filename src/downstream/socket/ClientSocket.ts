/**
 * The contract between a listener that can upgrade connections and what talks on them: an open socket, and its peer.
 *
 * The listener calls the peer from the socket's own callbacks, one after the other, so a message costs no fiber.
 */

/** An open socket to a client. Every method may be called after its end, and then does nothing. */
export interface ClientSocket {
  /**
   * Sends each text as a frame, in one write if the system takes it. False: the client is behind, so frames wait in
   * memory; `drained` tells when all have gone.
   */
  readonly send: (texts: ReadonlyArray<string>) => boolean
  /** Bytes that wait for the client in the platform's memory. */
  readonly buffered: () => number
  readonly ping: () => void
  /** Sends what waits, and a close frame behind it. */
  readonly close: (code: number, reason: string) => void
  /** Ends the connection without a word. */
  readonly terminate: () => void
}

export interface ClientPeer {
  readonly opened: (socket: ClientSocket) => void
  /** A whole message; bytes where the frame was not of text. */
  readonly received: (message: string | Uint8Array) => void
  readonly drained: () => void
  /** The client showed a sign of life that is not a message. */
  readonly alive: () => void
  /** The connection is gone; no call follows. `tooLarge`: the listener closed it because of a message over its limit. */
  readonly closed: (tooLarge?: boolean) => void
  /** The listener stops. The peer finishes what runs, and closes the socket by itself. */
  readonly leave: () => void
}
