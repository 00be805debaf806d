import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsValues } from "../../../src/config/Settings.ts"
import { ConnectionPool } from "../../../src/upstream/pool/ConnectionPool.ts"
import type { Dialer } from "../../../src/upstream/dialer/Dialer.ts"
import { layerBun } from "../../../src/upstream/dialer/DialerBun.ts"
import { layerWs } from "../../../src/upstream/dialer/DialerWs.ts"
import type { Answer } from "../../support/Ask.ts"
import { eventsOf } from "../../support/Events.ts"
import { counted } from "../../support/Metered.ts"
import { TestProxy } from "../../support/TestProxy.ts"
import type { Peer } from "../../support/HostileUpstream.ts"
import { answerWell, good, HostileUpstream } from "../../support/HostileUpstream.ts"
import {
  answer,
  attemptsOf,
  codeOf,
  delta,
  odd,
  opening,
  padded,
  upgrades,
  violations,
} from "../../support/Misconduct.ts"
import { errorIn, way } from "../../support/Ask.ts"
import { post } from "../../support/AskProxy.ts"
import { frame, text } from "../../support/Frames.ts"
import { sample } from "../../support/Runs.ts"

const proxied = (dialer: Layer.Layer<Dialer>, settings: Partial<SettingsValues> = {}, scheme = "http") =>
  Layer.unwrap(
    Effect.map(HostileUpstream, ({ port }) =>
      TestProxy.layerProxy({ upstreamUrl: `${scheme}://127.0.0.1:${port}/v1`, ...settings }, dialer),
    ),
  ).pipe(Layer.provideMerge(HostileUpstream.layer))

const greet = (stream = false) => post({ input: "Hello", stream })

const errorOf = (answer: Answer) => ({
  status: answer.status,
  code: errorIn(answer)["code"],
  retry: answer.headers.get("x-should-retry"),
})

const ended = counted("respool_evictions_total")

/** Nothing of the pool is in use, every socket that misbehaved is closed, and the next turn goes over a good one. */
const unharmed = Effect.gen(function* () {
  const pool = yield* ConnectionPool
  const upstream = yield* HostileUpstream
  assert.deepStrictEqual(pool.connections(), [])
  yield* upstream.closed
  upstream.conduct.now = good
  // Failed dials back off for a second.
  yield* TestClock.adjust("1 second")
  yield* continues
})

const continues = Effect.gen(function* () {
  const pool = yield* ConnectionPool
  const next = yield* greet()
  assert.strictEqual(next.status, 200)
  assert.strictEqual(way(next)[0], "websocket")
  assert.match(String(next.json?.["id"]), /^resp_socket_/)
  assert.deepStrictEqual(
    pool.connections().map(({ state }) => state),
    ["Idle"],
  )
})

/** Each of the one with each of the other. By hand three in ten, for each has a proxy of its own. */
const cells = <A, B>(all: ReadonlyArray<A>, others: ReadonlyArray<B>) =>
  sample(
    all.flatMap((one) => others.map((other) => [one, other] as const)),
    0.3,
  )

/** The turn's last line in the log. */
const logged = Effect.map(TestProxy, ({ logged }) => logged.findLast((line) => line.includes("message=turn")) ?? "")

for (const [name, dialer] of [
  ["layerBun", layerBun],
  ["layerWs", layerWs],
] as const) {
  const test = (
    title: string,
    body: Effect.Effect<void, never, TestProxy | HostileUpstream | ConnectionPool>,
    settings?: Partial<SettingsValues>,
    scheme?: string,
  ) =>
    it.effect(title, () =>
      body.pipe(
        Effect.provide(proxied(dialer, settings, scheme)),
        Effect.provideService(Metric.MetricRegistry, new Map()),
      ),
    )

  describe(`An upstream of ${name}`, () => {
    describe("is left for HTTP when its upgrade", () => {
      for (const [[what, upgrade, reason, waits], stream] of cells(upgrades, [false, true])) {
        test(
          `${what} (stream: ${stream})`,
          Effect.gen(function* () {
            const upstream = yield* HostileUpstream
            upstream.conduct.now = { ...good, upgrade }
            const asking = yield* Effect.forkChild(greet(stream))
            yield* upstream.upgrading
            if (waits !== undefined) yield* TestClock.adjust(waits)
            const got = yield* Fiber.join(asking)
            assert.strictEqual(got.status, 200)
            assert.include(got.text, "resp_http")
            assert.deepStrictEqual(way(got), ["http", reason])
            assert.include(yield* logged, ` reason=${reason} `)
            assert.deepStrictEqual(yield* ended, { dial_failed: 1 })
            assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 1])
            yield* unharmed
          }),
        )
      }
    })

    test(
      "that breaks the upgrade and refuses HTTP is heard over HTTP",
      Effect.gen(function* () {
        const upstream = yield* HostileUpstream
        upstream.conduct.now = { ...good, upgrade: ({ socket }) => socket.resetAndDestroy() }
        upstream.http.answers = false
        const got = yield* greet()
        assert.strictEqual(got.status, 503)
        assert.strictEqual(got.text, "{}")
        assert.deepStrictEqual(way(got), ["http", "dial_failed"])
        assert.isNull(got.headers.get("x-should-retry"))
        yield* unharmed
      }),
    )

    test(
      "that has no TLS where it should is named as what could not be reached",
      Effect.gen(function* () {
        const pool = yield* ConnectionPool
        const got = yield* greet()
        assert.deepInclude(errorOf(got), { status: 502, code: "upstream_unreachable" })
        assert.deepStrictEqual(way(got), ["http", "dial_failed"])
        assert.deepStrictEqual(yield* ended, { dial_failed: 1 })
        assert.deepStrictEqual(pool.connections(), [])
      }),
      {},
      "https",
    )

    describe("ends a turn with one clear error when it", () => {
      const all = name === "layerBun" ? [...violations, [...padded, "protocol"] as const] : violations
      for (const [[what, turn, ends], when] of cells(all, ["before", "after"])) {
        if (when === "before")
          test(
            `${what} before content`,
            Effect.gen(function* () {
              const upstream = yield* HostileUpstream
              upstream.conduct.now = { ...good, turn }
              const got = yield* greet()
              if (ends === "closed") {
                // Two in a row that say nothing, and there is HTTP.
                assert.strictEqual(got.status, 200)
                assert.deepStrictEqual(way(got), ["http", "sockets_closed"])
                assert.deepStrictEqual(yield* ended, { closed: 2 })
                assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [2, 1])
                yield* TestClock.adjust("5 minutes")
                return yield* unharmed
              }
              assert.deepStrictEqual(errorOf(got), { status: 502, code: codeOf(ends), retry: "false" })
              assert.include(yield* logged, ` outcome=${codeOf(ends)} `)
              assert.deepStrictEqual(yield* ended, { [ends]: attemptsOf(ends) })
              assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [attemptsOf(ends), 0])
              yield* unharmed
            }),
          )
        else
          test(
            `${what} after content`,
            Effect.gen(function* () {
              const upstream = yield* HostileUpstream
              upstream.conduct.now = {
                ...good,
                turn: (peer) => {
                  peer.write(text(opening), text(delta))
                  turn(peer)
                },
              }
              const got = yield* greet(true)
              assert.strictEqual(got.status, 200)
              const said = eventsOf(got.text)
              assert.deepStrictEqual(
                said.map(({ type }) => type),
                ["response.created", "response.output_text.delta", "error"],
              )
              assert.deepInclude(JSON.parse(said[2]?.data ?? ""), { code: codeOf(ends), sequence_number: 2 })
              assert.include(yield* logged, ` outcome=${codeOf(ends)} `)
              assert.deepStrictEqual(yield* ended, { [ends]: 1 })
              assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
              yield* unharmed
            }),
          )
      }
    })

    test(
      "that pings for ever and answers nothing is given up at the time-out for the first event",
      Effect.gen(function* () {
        const upstream = yield* HostileUpstream
        upstream.conduct.now = { ...good, turn: ({ write }) => write(frame(9, "p")) }
        const asking = yield* Effect.forkChild(greet())
        yield* upstream.asked
        yield* TestClock.adjust("300 seconds")
        const got = yield* Fiber.join(asking)
        assert.deepStrictEqual(errorOf(got), { status: 504, code: "first_event_timeout", retry: "false" })
        assert.deepStrictEqual(yield* ended, { timeout: 1 })
        assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
        yield* unharmed
      }),
      { pingInterval: 86_400_000 },
    )

    test(
      "that shows no sign of life is given up after two and a half pings",
      Effect.gen(function* () {
        const upstream = yield* HostileUpstream
        upstream.conduct.now = { ...good, turn: ({ socket }) => socket.pause() }
        const asking = yield* Effect.forkChild(greet())
        yield* upstream.asked
        yield* TestClock.adjust("75 seconds")
        const got = yield* Fiber.join(asking)
        assert.deepStrictEqual(errorOf(got), { status: 502, code: "ping_timeout", retry: "false" })
        assert.deepStrictEqual(yield* ended, { ping_timeout: 1 })
        assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
      }),
    )

    describe("is understood when it", () => {
      for (const [what, turn] of name === "layerWs" ? [...odd, padded] : odd) {
        test(
          what,
          Effect.gen(function* () {
            const upstream = yield* HostileUpstream
            upstream.conduct.now = { ...good, turn }
            const got = yield* greet()
            assert.strictEqual(got.status, 200)
            assert.match(String(got.json?.["id"]), /^resp_(odd|socket)_/)
            assert.deepStrictEqual(yield* ended, {})
            upstream.conduct.now = good
            yield* continues
            assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
          }),
        )
      }

      test(
        "says 100 Continue and 103 before it upgrades",
        Effect.gen(function* () {
          const upstream = yield* HostileUpstream
          const upgrade = ({ switching, write }: Peer) =>
            write(answer("100 Continue"), answer("103 Early Hints", "link: </a>"), switching())
          upstream.conduct.now = { ...good, upgrade }
          yield* continues
          assert.deepStrictEqual([upstream.upgrades(), upstream.posts()], [1, 0])
        }),
      )
    })

    test(
      "that speaks behind the end of a turn loses its connection, and the turn nothing",
      Effect.gen(function* () {
        const upstream = yield* HostileUpstream
        const pool = yield* ConnectionPool
        upstream.conduct.now = { ...good, turn: ({ write }) => write(answerWell(), text(delta)) }
        const got = yield* greet()
        assert.strictEqual(got.status, 200)
        assert.strictEqual(way(got)[0], "websocket")
        yield* upstream.closed
        assert.deepStrictEqual(yield* ended, { unsolicited: 1 })
        assert.deepStrictEqual(pool.connections(), [])
        yield* unharmed
      }),
    )

    test(
      "that resets the connection right behind its answer harms nobody, whether it is noticed before the request is sent or after",
      Effect.gen(function* () {
        const upstream = yield* HostileUpstream
        const upgrade = ({ socket, switching, write }: Peer) => {
          write(switching())
          socket.resetAndDestroy()
        }
        upstream.conduct.now = { ...good, upgrade }
        const got = yield* greet()
        if (got.status !== 200) {
          assert.deepStrictEqual(errorOf(got), { status: 502, code: "upstream_closed", retry: "false" })
        }
        assert.strictEqual(upstream.posts(), got.status === 200 ? 1 : 0)
        yield* unharmed
      }),
    )
  })
}
