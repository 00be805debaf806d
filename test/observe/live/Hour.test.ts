import { assert, describe, it } from "@effect/vitest"
import { fellBack, Hour } from "../../../src/observe/live/Hour.ts"
import { Ring } from "../../../src/observe/live/Ring.ts"
import type { TurnRecord } from "../../../src/turn/record/TurnRecord.ts"

const minute = 60_000

const recordOf = (record: {
  readonly firstMs?: number
  readonly input?: "suffix" | "full"
  readonly transport?: "websocket" | "http"
  readonly reason?: string
}) =>
  ({
    firstMs: record.firstMs,
    way: { transport: record.transport ?? "websocket", input: record.input ?? "full", reason: record.reason ?? "" },
    clientInputBytes: 10,
    upstreamInputBytes: 4,
    followsUp: true,
    usage: { input: 100, cached: 60, output: 1, reasoning: 0 },
  }) as unknown as TurnRecord

describe("Hour", () => {
  it("sums up by minute, and forgets what is over an hour ago", () => {
    const hour = new Hour()
    hour.count(recordOf({ input: "suffix" }), 5 * minute + 1)
    hour.count(recordOf({}), 5 * minute + 59_999)
    hour.evicted("idle", 6 * minute)
    hour.evicted("idle", 6 * minute)
    const at = (now: number, since = 0) => hour.since(since, now).map(({ minute }) => minute)
    assert.deepStrictEqual(at(6 * minute), [5, 6])
    assert.deepStrictEqual(at(6 * minute, 6), [6])
    assert.deepStrictEqual(at(64 * minute + 59_999), [5, 6])
    assert.deepStrictEqual(at(65 * minute), [6])
    assert.deepStrictEqual(at(66 * minute), [])
    const [five, six] = hour.since(0, 6 * minute)
    assert.deepInclude(five, { turns: 2, suffix: 1, saved: 12, followUpInputTokens: 200, followUpCachedTokens: 120 })
    assert.deepInclude(six, { turns: 0, evictions: { idle: 2 }, p50: undefined })
    // Another hour's minute takes its place, and begins at 0.
    hour.count(recordOf({}), 65 * minute)
    assert.deepInclude(hour.since(0, 65 * minute)[1], { minute: 65, turns: 1, saved: 6 })
  })

  it("tells percentiles to within 3 %, from a millisecond to half an hour", () => {
    for (const scale of [1, 7, 90, 1_100, 13_000, 1_700_000 / 100]) {
      const hour = new Hour()
      for (let index = 1; index <= 100; index++) hour.count(recordOf({ firstMs: index * scale }), 0)
      const [{ p50 = 0, p95 = 0 } = {}] = hour.since(0, 0)
      // A whole number of milliseconds is shown, which of few of them is more than a share.
      assert.approximately(p50, 50 * scale, 50 * scale * 0.03 + 0.5)
      assert.approximately(p95, 95 * scale, 95 * scale * 0.03 + 0.5)
    }
    const one = new Hour()
    one.count(recordOf({ firstMs: 0 }), 0)
    one.count(recordOf({ firstMs: 1e9 }), minute)
    assert.deepStrictEqual(
      one.since(0, minute).map(({ p50, p95 }) => [p50, (p95 ?? 0) > 1_700_000]),
      [
        [1, false],
        [one.since(1, minute)[0]?.p50, true],
      ],
    )
  })

  it("counts as fallbacks the turns that would have used a socket", () => {
    const fell = (reason: string, transport: "websocket" | "http" = "http") => fellBack(recordOf({ reason, transport }))
    for (const reason of ["transport_http", "background", "no_scope", "unusual_member"]) assert.isFalse(fell(reason))
    for (const reason of ["dial_failed", "pool_full", "message_too_big", "upstream_http_only", "dial_backoff"]) {
      assert.isTrue(fell(reason), reason)
    }
    assert.isFalse(fell("dial_failed", "websocket"))
    assert.isFalse(fellBack({ way: undefined }))
  })
})

describe("Ring", () => {
  it("keeps the latest, and tells them from the latest on", () => {
    const ring = new Ring<number>(3)
    assert.deepStrictEqual([...ring.latest()], [])
    for (let number = 1; number <= 7; number++) ring.add(number)
    assert.deepStrictEqual([...ring.latest()], [7, 6, 5])
    assert.deepStrictEqual([...ring.latest(2)], [7, 6])
    assert.deepStrictEqual([...ring.latest(9)], [7, 6, 5])
    assert.strictEqual(ring.given, 7)
  })
})
