import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Scope } from "effect"
import { existsSync, readFileSync } from "node:fs"
import type * as Net from "node:net"
import type { DialError } from "../../../src/upstream/dialer/Dialer.ts"
import type { Dialer } from "../../../src/upstream/dialer/Dialer.ts"
import { layerBun } from "../../../src/upstream/dialer/DialerBun.ts"
import type { Subject } from "../../support/Certificate.ts"
import { loopback, selfSigned } from "../../support/Certificate.ts"
import { HostileUpstream } from "../../support/HostileUpstream.ts"
import { utf8 } from "../../support/Bytes.ts"
import { round } from "../../support/EventLoop.ts"
import { converse, dial, echo, failureOf, large, leavesNothing } from "../../support/Dials.ts"
import { closing, frame, text } from "../../support/Frames.ts"

/** A server that echoes over TLS, and the certificate it shows. */
const secure = Effect.fnUntraced(function* (subject: Subject) {
  const pair = selfSigned(subject)
  return { port: yield* echo(pair), ca: pair.cert }
})

/**
 * Sockets to a port that a descriptor still holds, as the kernel lists them: a closed one has no inode there, and other
 * threads' descriptors are not counted.
 */
const descriptorsTo = (port: number): number => {
  let held = 0
  for (const line of readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1)) {
    const [, , remote = "", , , , , , , inode] = line.trim().split(/\s+/)
    if (Number.parseInt(remote.slice(remote.indexOf(":") + 1), 16) === port && inode !== "0") held++
  }
  return held
}

const test = (title: string, body: Effect.Effect<void, DialError, Dialer | Scope.Scope>) =>
  it.effect(title, () => body.pipe(Effect.provide(layerBun)))

describe("Dialer.layerBun", () => {
  test(
    "carries large messages over TLS, whose certificate it was told to trust, and tells a close",
    Effect.gen(function* () {
      for (const [subject, host] of [
        [loopback, "127.0.0.1"],
        ["localhost", "localhost"],
      ] as const) {
        const { ca, port } = yield* secure(subject)
        yield* converse(`wss://${host}:${port}/`, { tls: { ca } }, host === "localhost" ? undefined : large)
      }
    }),
  )

  const distrusted: ReadonlyArray<readonly [what: string, subject: Subject, host: string, told: boolean]> = [
    ["nobody vouches for", loopback, "127.0.0.1", false],
    ["is for another address", [127, 0, 0, 2], "127.0.0.1", true],
    ["is for another name", "other.test", "localhost", true],
    ["is for the name, of the address", "localhost", "127.0.0.1", true],
  ]
  for (const [what, subject, host, told] of distrusted) {
    test(
      `fails as unreachable on a certificate that ${what}`,
      Effect.gen(function* () {
        const { ca, port } = yield* secure(subject)
        const url = `wss://${host}:${port}/?api-key=test-key-a`
        const error = yield* failureOf(dial(url, told ? { tls: { ca } } : {}))
        assert.include(String(error), "TLS was not accepted")
        assert.notInclude(String(error), "test-key-a")
      }),
    )
  }

  test(
    "fails as unreachable on certificates of its own that are none",
    Effect.gen(function* () {
      const { port } = yield* secure(loopback)
      for (const tls of [{ ca: "nonsense" }, { cert: "nonsense", key: "nonsense" }]) {
        const error = yield* failureOf(dial(`wss://127.0.0.1:${port}/`, { tls }))
        assert.include(String(error), "DialError")
      }
    }),
  )

  test(
    "writes a large message piece by piece, however much the system would take at once",
    Effect.scoped(
      Effect.gen(function* () {
        const socket = yield* dial(`ws://127.0.0.1:${yield* echo()}/`)
        const size = 15 << 20
        assert.isTrue(socket.send(new Uint8Array(size).fill(97)))
        assert.isAtLeast(socket.bufferedAmount(), size - (5 << 18))
      }),
    ),
  )

  // The kernel's list of sockets is Linux's own.
  it.effect.skipIf(!existsSync("/proc/net/tcp"))("gives its descriptors back however a socket ends", () =>
    Effect.gen(function* () {
      const upstream = yield* HostileUpstream
      for (const ending of [closing(1000), frame(3, ""), text("", { declared: 1n << 40n })]) {
        const over = yield* Deferred.make<void>()
        const end = () => void Deferred.doneUnsafe(over, Effect.void)
        const scope = yield* Scope.make()
        const held = () => descriptorsTo(upstream.port)
        let atTheEnd = -1
        const ended = () => {
          atTheEnd = held()
          end()
        }
        upstream.conduct.now = { ...upstream.conduct.now, turn: ({ write }) => write(ending) }
        const socket = yield* dial(
          `ws://127.0.0.1:${upstream.port}/`,
          {},
          {
            onClose: ended,
            onOverflow: ended,
            onViolation: ended,
          },
        ).pipe(Scope.provide(scope))
        assert.strictEqual(held(), 1)
        assert.isTrue(socket.send(utf8("go")))
        yield* Deferred.await(over)
        assert.strictEqual(atTheEnd, 0)
        yield* upstream.closed
        yield* Scope.close(scope, Exit.void)
      }
    }).pipe(Effect.provide(Layer.merge(layerBun, HostileUpstream.layer))),
  )

  test(
    "holds the rest of a chunk back while it is paused, and a reset with it",
    Effect.gen(function* () {
      const upstream = yield* HostileUpstream
      const seen: Array<string> = []
      const paused = yield* Deferred.make<void>()
      const over = yield* Deferred.make<void>()
      upstream.conduct.now = {
        ...upstream.conduct.now,
        turn: ({ fork, socket, write }) => {
          write(text("one"), text("two"), text("three"))
          fork(
            Effect.andThen(
              Deferred.await(paused),
              Effect.sync(() => socket.resetAndDestroy()),
            ),
          )
        },
      }
      const socket = yield* dial(
        `ws://127.0.0.1:${upstream.port}/`,
        {},
        {
          onText: (message) => {
            seen.push(message)
            if (message === "three") return
            socket.pause()
            Deferred.doneUnsafe(paused, Effect.void)
          },
          onClose: (code) => {
            seen.push(String(code))
            Deferred.doneUnsafe(over, Effect.void)
          },
        },
      )
      assert.isTrue(socket.send(utf8("go")))
      yield* Deferred.await(paused)
      // A write would use up the error of the reset, so it is only given the time to be noticed.
      for (let turns = 0; turns < 50; turns++) yield* round
      assert.deepStrictEqual(seen, ["one"])
      assert.isFalse(socket.send(utf8("late")))
      socket.resume()
      assert.deepStrictEqual(seen, ["one", "two"])
      socket.resume()
      yield* Deferred.await(over)
      assert.deepStrictEqual(seen, ["one", "two", "three", "1006"])
    }).pipe(Effect.provide(HostileUpstream.layer)),
  )

  test(
    "leaves what it does not read to the peer, when it is paused and when it is paused again",
    Effect.gen(function* () {
      const upstream = yield* HostileUpstream
      const size = 16 * 1024 * 1024
      const flood = text("f".repeat(size))
      const peers: Array<Net.Socket> = []
      upstream.conduct.now = {
        ...upstream.conduct.now,
        turn: ({ socket, write }) => {
          peers.push(socket)
          write(text("one"), text("two"))
          write(flood)
        },
      }
      const url = `ws://127.0.0.1:${upstream.port}/`
      const seen: Array<string> = []
      const one = yield* Deferred.make<void>()
      const paused = yield* dial(
        url,
        {},
        {
          onText: (message) => {
            seen.push(message)
            paused.pause()
            Deferred.doneUnsafe(one, Effect.void)
          },
        },
      )
      assert.isTrue(paused.send(utf8("go")))
      yield* Deferred.await(one)
      for (const resumed of [false, true]) {
        if (resumed) paused.resume()
        const over = yield* Deferred.make<void>()
        const onText = (message: string) => message.length > 3 && Deferred.doneUnsafe(over, Effect.void)
        const other = yield* dial(url, {}, { onText })
        assert.isTrue(other.send(utf8("go")))
        // The same flood has arrived elsewhere, so time was not what was missing.
        yield* Deferred.await(over)
        assert.isAbove(peers[0]?.writableLength ?? 0, 1024 * 1024)
      }
      assert.deepStrictEqual(seen, ["one", "two"])
    }).pipe(Effect.provide(HostileUpstream.layer)),
  )

  test(
    "lets another connection answer before a burst has been handed on, and tells the end behind the whole burst",
    Effect.gen(function* () {
      const upstream = yield* HostileUpstream
      const burst = 2_000
      upstream.conduct.now = {
        ...upstream.conduct.now,
        turn: ({ socket, write }, asked) => {
          if (asked !== "burst") return write(text("answer"))
          write(Buffer.concat(Array.from({ length: burst }, (_, at) => text(`${at} ${"x".repeat(100)}`))))
          socket.end()
        },
      }
      const url = `ws://127.0.0.1:${upstream.port}/`
      let seen = 0
      let seenAtAnswer = -1
      let ended = -1
      const over = yield* Deferred.make<void>()
      const other = yield* dial(url, {}, { onText: () => void (seenAtAnswer = seen) })
      const busy = yield* dial(
        url,
        {},
        {
          onText: () => {
            if (seen++ === 0) other.send(utf8("ask"))
            // What an event costs, so that the burst takes longer than the other's way there and back.
            const until = performance.now() + 0.1
            while (performance.now() < until);
          },
          onClose: () => {
            ended = seen
            Deferred.doneUnsafe(over, Effect.void)
          },
        },
      )
      busy.send(utf8("burst"))
      yield* Deferred.await(over)
      assert.strictEqual(ended, burst)
      assert.isAbove(seenAtAnswer, 0)
      assert.isBelow(seenAtAnswer, burst)
    }).pipe(Effect.provide(HostileUpstream.layer)),
  )

  test(
    "closes a connection that succeeds when nobody wants it any more, and writes nothing to it",
    leavesNothing((port) => dial(`ws://127.0.0.1:${port}/`)),
  )
})
