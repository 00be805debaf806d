/**
 * Dials a dialer directly, and what is dialled: a server that echoes.
 */
import { assert } from "@effect/vitest"
import { Effect, Fiber, Queue } from "effect"
import type { DialError, DialRequest, SocketHandlers } from "../../src/upstream/dialer/Dialer.ts"
import { Dialer } from "../../src/upstream/dialer/Dialer.ts"
import type { Pair } from "./Certificate.ts"
import { utf8 } from "./Bytes.ts"
import { eventually, promptly } from "./EventLoop.ts"
import { peers } from "./Peers.ts"

const silent: SocketHandlers = {
  onText: () => {},
  onBinary: () => {},
  onAlive: () => {},
  onOverflow: () => {},
  onViolation: () => {},
  onClose: () => {},
}

export const requestTo = (url: string, more: Partial<DialRequest> = {}): DialRequest => ({
  url,
  headers: { authorization: "Bearer test-key-a" },
  maxMessage: 64 * 1024 * 1024,
  ...more,
})

export const dial = (url: string, more: Partial<DialRequest> = {}, handlers: Partial<SocketHandlers> = {}) =>
  Effect.flatMap(Dialer, (dialer) => dialer.dial(requestTo(url, more), { ...silent, ...handlers }))

/** What comes of a dial that must fail. */
export const failureOf = <R>(dialling: Effect.Effect<unknown, DialError, R>) =>
  Effect.flip(Effect.andThen(dialling, Effect.die(new Error("it connected"))))

export type Seen =
  | { readonly _tag: "Text"; readonly text: string }
  | { readonly _tag: "Binary" }
  | { readonly _tag: "Alive" }
  | { readonly _tag: "Overflow" }
  | { readonly _tag: "Close"; readonly code: number; readonly reason: string }

/** Handlers that keep what they are called with, in order. A violation is kept as a close. */
export const seeing = Effect.gen(function* () {
  const queue = yield* Queue.unbounded<Seen>()
  const all: Array<Seen> = []
  const see = (seen: Seen) => {
    all.push(seen)
    Queue.offerUnsafe(queue, seen)
  }
  const handlers: SocketHandlers = {
    onText: (text) => see({ _tag: "Text", text }),
    onBinary: () => see({ _tag: "Binary" }),
    onAlive: () => see({ _tag: "Alive" }),
    onOverflow: () => see({ _tag: "Overflow" }),
    onViolation: () => see({ _tag: "Close", code: 1006, reason: "" }),
    onClose: (code, reason) => see({ _tag: "Close", code, reason }),
  }
  return { handlers, all, next: Queue.take(queue) }
})

/** A dial that is given up while it connects leaves no connection behind, and nothing is written on it. */
export const leavesNothing = Effect.fnUntraced(function* <R>(
  dialling: (port: number) => Effect.Effect<unknown, DialError, R>,
) {
  const { accepted, bytes, open, port } = yield* peers()
  const fiber = yield* Effect.forkChild(dialling(port), { startImmediately: true })
  yield* Fiber.interrupt(fiber)
  yield* eventually(
    () => accepted() === 1,
    () => "the connection",
  )
  yield* promptly(
    () => open() === 0,
    () => "its end",
  )
  assert.strictEqual(bytes(), 0)
})

export const flood = "f".repeat(15 * 1024 * 1024)

/** Echoes, over TLS where there is a `pair`; answers `flood` with one, and closes with 4001 on `bye`. Gives its port. */
export const echo = (tls?: Pair) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        Bun.serve({
          hostname: "127.0.0.1",
          port: 0,
          ...(tls === undefined ? {} : { tls }),
          fetch: (request, server) => (server.upgrade(request) ? undefined : new Response("no", { status: 400 })),
          websocket: {
            maxPayloadLength: 64 * 1024 * 1024,
            backpressureLimit: 64 * 1024 * 1024,
            message: (socket, message) => {
              if (message === "bye") socket.close(4001, "bye")
              else socket.send(message === "flood" ? flood : message)
            },
          },
        }),
      ),
      (server) => Effect.promise(() => server.stop(true)),
    ),
    (server) => server.port ?? 0,
  )

/** More than the system takes at a time, so that both sides wait for each other. */
export const large = ["é".repeat(4_000_000), "small", "x".repeat(5_000_000)]

/** Sends messages to `echo` and back, and sees the close. */
export const converse = Effect.fnUntraced(function* (
  url: string,
  more: Partial<DialRequest>,
  messages: ReadonlyArray<string> = ["hello", "x".repeat(70_000)],
) {
  const { handlers, next } = yield* seeing
  const socket = yield* dial(url, more, handlers)
  for (const message of messages) assert.isTrue(socket.send(utf8(message)))
  for (const message of messages) {
    const seen = yield* next
    assert.isTrue(seen._tag === "Text" && seen.text === message)
  }
  assert.strictEqual(socket.bufferedAmount(), 0)
  assert.isTrue(socket.send(utf8("bye")))
  assert.deepStrictEqual(yield* next, { _tag: "Close", code: 4001, reason: "bye" })
  assert.isFalse(socket.send(utf8("late")))
})
