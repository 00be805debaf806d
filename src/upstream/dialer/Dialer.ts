/**
 * Opens one WebSocket to an upstream; what only one runtime has (Bun, Node, Deno) stays behind this service.
 *
 * The socket belongs to the `Scope` it was dialled in: closing the scope, or interrupting the dial, terminates it.
 */
import type { Redacted } from "effect"
import { Context, Effect, Schema, Scope } from "effect"
import { setImmediate } from "node:timers"
import { headerFault } from "./UpgradeRequest.ts"

/**
 * Where to dial and with what. `url` is `ws:` or `wss:` without a fragment or credentials. `maxMessage` is in bytes: a
 * larger inbound message is dropped and ends the socket, seen as `onOverflow()`.
 */
export interface DialRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly maxMessage: number
  readonly tls?: {
    readonly ca?: string
    readonly cert?: string
    readonly key?: string
    /** `false`: the certificate is not verified, so any peer that answers is taken for the upstream. */
    readonly verify?: false
  }
  /** `http://user:password@host:port` (or `https:`, user optional) of a proxy to open a tunnel through. */
  readonly proxy?: Redacted.Redacted<string>
  /** Called at most once, when the peer is reached, right before it is told anything of this request. */
  readonly onReached?: () => void
}

/**
 * Called from the socket's own callbacks, so they must not throw and must not block. The last call is `onClose`,
 * `onOverflow` or `onViolation`, once. Before `dial` has succeeded, and after the socket's scope has closed, no call
 * comes, not even these.
 */
export interface SocketHandlers {
  readonly onText: (text: string) => void
  /** A binary message, which the protocol never has. */
  readonly onBinary: () => void
  /** A ping or a pong: a sign of life that is no message. */
  readonly onAlive: () => void
  /** A message over `maxMessage`, or in more fragments than are kept, came and was dropped; the socket has ended. */
  readonly onOverflow: () => void
  /** A frame came that RFC 6455 forbids; the socket has ended. */
  readonly onViolation: () => void
  /** The peer's code and reason (its 1009 among them: what we sent was too big), or 1006 where it gave none. */
  readonly onClose: (code: number, reason: string) => void
}

export interface Socket {
  /** Status of the answer to the upgrade, and its headers, with names in lower case. */
  readonly handshake: { readonly status: number; readonly headers: Readonly<Record<string, string>> }
  /** Sends one text message of UTF-8 bytes. False: the socket was not open and nothing was written. */
  readonly send: (frame: Uint8Array) => boolean
  readonly ping: () => void
  /** Bytes accepted by `send` and not yet handed to the system. */
  readonly bufferedAmount: () => number
  /** Stops reading from the network, so that the peer feels the backpressure. */
  readonly pause: () => void
  readonly resume: () => void
}

/**
 * Why there is no socket; nothing of a turn was sent.
 *
 * - `Refused`: an HTTP answer of 400 to 599, which it carries, since the client is to see it.
 * - `HungUp`: the upgrade was answered, and the peer closed before it was asked anything.
 * - `Unsendable`: the request itself can't be written, so nobody was asked.
 * - `Unreachable`: everything else, such as DNS, TCP, TLS, a proxy that opens no tunnel, a broken upgrade, a peer that
 *   spoke together with its answer, or an answer of another status, which would mislead the client.
 *
 * `answer.headers` are as received, names in lower case, repeated ones joined by `, `; `answer.body` is without transfer
 * coding, at most 64 KiB.
 */
export class DialError extends Schema.TaggedError<DialError>()("DialError", {
  reason: Schema.Literals(["Refused", "HungUp", "Unreachable", "Unsendable"]),
  message: Schema.String,
  answer: Schema.optionalKey(
    Schema.Struct({
      status: Schema.Number,
      headers: Schema.Record(Schema.String, Schema.String),
      body: Schema.String,
    }),
  ),
  cause: Schema.optionalKey(Schema.Defect()),
}) {}

export class Dialer extends Context.Service<
  Dialer,
  {
    readonly dial: (request: DialRequest, handlers: SocketHandlers) => Effect.Effect<Socket, DialError, Scope.Scope>
  }
>()("respool/upstream/Dialer") {}

export const unreachable = (message: string): DialError => new DialError({ reason: "Unreachable", message })

const hungUp = new DialError({ reason: "HungUp", message: "the upstream hung up before it was asked anything" })

const unsendable = (message: string): DialError => new DialError({ reason: "Unsendable", message })

/** The error for an upgrade that was answered with anything but 101. */
export const refused = (status: number, headers: Readonly<Record<string, string>>, body: string): DialError =>
  status < 400 || status > 599
    ? unreachable(`the upstream answered the upgrade with status ${status}`)
    : new DialError({
        reason: "Refused",
        message: `the upstream refused the upgrade with status ${status}`,
        answer: { status, headers, body },
      })

/** The code of an error that is about a peer's certificate and nothing else. */
export const isCertificateCode = (code: unknown): boolean => typeof code === "string" && certificateCode.test(code)

const certificateCode =
  /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_.*|(ERR_TLS_)?CERT_.*|INVALID_(CA|PURPOSE))$/

/** The longest body of a refusal that is kept, in bytes. */
export const maxAnswerBody = 64 * 1024

/** Headers as the wire has them (name, value, name, value, …) by lower-case name, repeated ones joined. */
export const headersFromRaw = (raw: ReadonlyArray<string>): Record<string, string> => {
  const headers: Record<string, string> = Object.create(null)
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? "").toLowerCase()
    const value = raw[i + 1] ?? ""
    const earlier = headers[name]
    headers[name] = earlier === undefined ? value : `${earlier}, ${value}`
  }
  return headers
}

/**
 * A runtime's way to open a socket. It starts at once, tells `upgrade` how it went, and returns a function that
 * terminates the socket in any of its states. It may throw instead of starting.
 */
export type Start = (request: DialRequest, handlers: SocketHandlers, upgrade: Upgrade) => () => void

/** Only the first call counts. */
export interface Upgrade {
  /**
   * `socket` is called when all that came together with the answer has been read; it gives undefined if it is closing.
   */
  readonly opened: (socket: () => Socket | undefined) => void
  readonly failed: (error: DialError) => void
}

/**
 * Lets through what the contract of `SocketHandlers` allows. It is an object with methods and not closures, since every
 * event goes through it: test/bench/README.md has what that brought.
 */
class Guard implements SocketHandlers {
  state: "connecting" | "opening" | "open" | "over" = "connecting"
  /** What the peer did before it was asked anything; undefined: nothing. */
  early: "spoke" | "hung up" | undefined
  readonly #handlers: SocketHandlers

  constructor(handlers: SocketHandlers) {
    this.#handlers = handlers
  }

  onText(text: string) {
    if (this.state === "open") this.#handlers.onText(text)
    else this.#spoke()
  }

  onBinary() {
    if (this.state === "open") this.#handlers.onBinary()
    else this.#spoke()
  }

  onAlive() {
    if (this.state === "open") this.#handlers.onAlive()
  }

  onOverflow() {
    if (this.#ends()) this.#handlers.onOverflow()
  }

  onViolation() {
    if (this.#ends()) this.#handlers.onViolation()
  }

  onClose(code: number, reason: string) {
    if (this.#ends("hung up")) this.#handlers.onClose(code, reason)
  }

  // No turn has asked for what comes now, and none has been sent, so nothing is lost by giving the socket up.
  #spoke() {
    if (this.state === "opening") this.early ??= "spoke"
  }

  #ends(how: "spoke" | "hung up" = "spoke"): boolean {
    if (this.state === "opening") this.early ??= how
    if (this.state !== "open") return false
    this.state = "over"
    return true
  }
}

/** Makes a dialer of a runtime's `Start`: checks the URL, and closes the socket and ends all calls with the `Scope`. */
export const make = (start: Start): Dialer["Service"] => ({
  dial: Effect.fn("Dialer.dial")(function* (request, handlers) {
    if (!isSocketUrl(request.url)) return yield* unsendable("the upstream's URL must be ws: or wss:, without #fragment")
    for (const [name, value] of Object.entries(request.headers)) {
      const fault = headerFault(name, value)
      if (fault !== undefined) return yield* unsendable(fault)
    }
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.fork(yield* Effect.scope)
        const guard = new Guard(handlers)
        let terminate = () => {}
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            guard.state = "over"
            terminate()
          }),
        )
        const opened = Effect.callback<Socket, DialError>((resume) => {
          const failed = (error: DialError) => {
            if (guard.state !== "connecting") return
            guard.state = "over"
            resume(error)
          }
          const opened = (ready: () => Socket | undefined) => {
            if (guard.state !== "connecting") return
            guard.state = "opening"
            setImmediate(() => {
              if (guard.state !== "opening") return
              const { early } = guard
              const socket = early === undefined ? ready() : undefined
              guard.state = socket === undefined ? "over" : "open"
              resume(
                socket === undefined
                  ? early === "spoke"
                    ? unreachable("the upstream spoke before it was asked anything")
                    : hungUp
                  : Effect.succeed(socket),
              )
            })
          }
          try {
            terminate = start(request, guard, { opened, failed })
          } catch (cause) {
            failed(unreachable(cause instanceof Error ? cause.message : "the socket could not be made"))
          }
        })
        return yield* restore(opened).pipe(
          Effect.onExit((exit) => (exit._tag === "Failure" ? Scope.close(scope, exit) : Effect.void)),
        )
      }),
    )
  }),
})

const isSocketUrl = (text: string): boolean => {
  if (!URL.canParse(text)) return false
  const url = new URL(text)
  return (
    (url.protocol === "ws:" || url.protocol === "wss:") && url.hash === "" && url.username === "" && url.password === ""
  )
}
