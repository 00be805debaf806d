/**
 * Opens one WebSocket to an upstream; what is a runtime's own (Bun, Node, Deno) stays behind this service.
 *
 * The socket belongs to the `Scope` it was dialled in: closing the scope, or interrupting the dial, terminates it.
 */
import { Context, Effect, Schema, Scope } from "effect"

/**
 * Where to dial and with what. `url` is `ws:` or `wss:` without a fragment or credentials. `maxMessage` is in bytes: a
 * larger inbound message is dropped and ends the socket, seen as `onClose(1009)`.
 */
export interface DialRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly maxMessage: number
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string }
}

/**
 * Called from the socket's own callbacks, so they must not throw and must not block. No call comes after `onClose`, nor
 * once the socket's scope has closed (then not even `onClose`), nor before `dial` has succeeded.
 */
export interface SocketHandlers {
  readonly onText: (text: string) => void
  /** A binary message, which the protocol never has. */
  readonly onBinary: () => void
  /** A ping or a pong: a sign of life that is no message. */
  readonly onAlive: () => void
  readonly onClose: (code: number, reason: string) => void
}

export interface Socket {
  /** Status, headers (lower case) of the upgrade answer. */
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
 * Why no socket came to be; nothing of a turn was sent. `Refused` is an HTTP answer of 400 or above and carries it, since
 * it is the client's to see; `Unreachable` is DNS, TCP, TLS, a broken upgrade, or an answer below 400, which no client
 * may take for its own. `answer.headers` are as received, in lower case, repeated ones joined by `, `; `answer.body` is
 * without transfer coding, at most 64 KiB. `layerBun` has of the body only what came together with the head.
 */
export class DialError extends Schema.TaggedError<DialError>()("DialError", {
  reason: Schema.Literals(["Refused", "Unreachable"]),
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

/** The error for an upgrade that was answered with anything but 101. */
export const refused = (status: number, headers: Readonly<Record<string, string>>, body: string): DialError =>
  status < 400
    ? unreachable(`the upstream answered the upgrade with status ${status}`)
    : new DialError({
        reason: "Refused",
        message: `the upstream refused the upgrade with status ${status}`,
        answer: { status, headers, body },
      })

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
 * A runtime's way to open a socket: starts at once, calls `settle` at most once that counts, and returns what terminates
 * the socket in any of its states. It may throw instead of starting.
 */
export type Start = (
  request: DialRequest,
  handlers: SocketHandlers,
  settle: (outcome: Effect.Effect<Socket, DialError>) => void,
) => () => void

/** A dialer from a runtime's `Start`: adds the check of the URL, the ownership by a `Scope` and the end of all calls. */
export const make = (start: Start): Dialer["Service"] => ({
  dial: Effect.fn("Dialer.dial")(function* (request, handlers) {
    if (!isSocketUrl(request.url))
      return yield* unreachable("the upstream's URL must be ws: or wss:, without #fragment")
    return yield* Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.fork(yield* Effect.scope)
        let live = true
        let terminate = () => {}
        yield* Scope.addFinalizer(
          scope,
          Effect.sync(() => {
            live = false
            terminate()
          }),
        )
        const guarded: SocketHandlers = {
          onText: (text) => live && handlers.onText(text),
          onBinary: () => live && handlers.onBinary(),
          onAlive: () => live && handlers.onAlive(),
          onClose: (code, reason) => {
            if (!live) return
            live = false
            handlers.onClose(code, reason)
          },
        }
        const opened = Effect.callback<Socket, DialError>((resume) => {
          try {
            terminate = start(request, guarded, resume)
          } catch (cause) {
            resume(unreachable(cause instanceof Error ? cause.message : "the socket could not be made"))
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
