import { assert, describe, it } from "@effect/vitest"
import type { Failure, Recovery, RetryReason } from "../../../src/turn/attempt/Recovery.ts"
import { recoveryOf } from "../../../src/turn/attempt/Recovery.ts"
import type { Delivery, TurnErrorReason } from "../../../src/turn/TurnError.ts"
import { Delivery as Deliveries, TurnError, TurnErrorReason as Reasons } from "../../../src/turn/TurnError.ts"

const standard = { retry: "standard", transport: "auto" } as const

interface Case {
  readonly reason: TurnErrorReason
  readonly delivery: Delivery
  readonly status?: number
  readonly code?: string
  readonly body?: string
}

const failure = (
  { body = `{"error":{}}`, code, delivery, reason, status }: Case,
  rest: Partial<Omit<Failure, "error">> = {},
): Failure => ({
  error: new TurnError({
    reason,
    delivery,
    message: "",
    ...(code === undefined ? {} : { code }),
    ...(status === undefined ? {} : { answer: { status, headers: {}, body } }),
  }),
  shown: false,
  ownSuffix: false,
  forked: false,
  reused: false,
  socketsClosed: false,
  selfContained: true,
  growsConversation: false,
  tried: new Set(),
  ...rest,
})

const surface: Recovery = { _tag: "Surface" }
const http = (reason: TurnErrorReason): Recovery => ({ _tag: "Http", reason })
const retry = (reason: RetryReason, fresh = true): Recovery => ({ _tag: "Retry", reason, fresh })

const lost: Case = { reason: "socket_lost_before_send", delivery: "NotSent" }
const closed: Case = { reason: "upstream_closed", delivery: "Ambiguous" }
const tooBig: Case = { reason: "message_too_big", delivery: "Rejected" }
const refusal = (status: number, code?: string): Case => ({
  reason: "upstream_error",
  delivery: "Rejected",
  status,
  ...(code === undefined ? {} : { code }),
})
const limit = refusal(400, "websocket_connection_limit_reached")

describe("recoveryOf", () => {
  it("sends what was not written on another connection, then over HTTP", () => {
    assert.deepStrictEqual(recoveryOf(failure(lost), standard), retry("socket_lost_before_send", false))
    const tried = new Set<RetryReason>(["socket_lost_before_send"])
    assert.deepStrictEqual(recoveryOf(failure(lost, { tried }), standard), http("socket_lost_before_send"))
  })

  it("goes over HTTP where no connection could be had, unless the answer is the client's", () => {
    for (const reason of ["dial_failed", "dial_timeout", "dial_backoff", "pool_full", "session_busy"] as const) {
      assert.deepStrictEqual(recoveryOf(failure({ reason, delivery: "NotSent" }), standard), http(reason))
    }
    for (const status of [400, 404, 405, 426, 500, 501, 503]) {
      const refused: Case = { reason: "upgrade_refused", delivery: "NotSent", status }
      assert.deepStrictEqual(recoveryOf(failure(refused), standard), http("upgrade_refused"))
    }
    for (const status of [401, 403, 429]) {
      const refused: Case = { reason: "upgrade_refused", delivery: "NotSent", status }
      assert.deepStrictEqual(recoveryOf(failure(refused), standard), surface)
      const page: Case = { ...refused, body: "<html></html>" }
      assert.deepStrictEqual(recoveryOf(failure(page), standard), http("upgrade_refused"))
    }
  })

  it("sends everything again when our own suffix was refused for anything the client did not cause", () => {
    for (const status of [400, 404, 409, 413, 422]) {
      assert.deepStrictEqual(
        recoveryOf(failure(refusal(status), { ownSuffix: true }), standard),
        retry("suffix_refused"),
      )
      assert.deepStrictEqual(recoveryOf(failure(refusal(status)), standard), surface)
    }
    for (const status of [401, 403, 429, 500, 502, 503]) {
      assert.deepStrictEqual(recoveryOf(failure(refusal(status), { ownSuffix: true }), standard), surface)
    }
  })

  it("sends everything again where a connection that had carried other turns refused it", () => {
    for (const status of [400, 404, 409, 413, 422]) {
      const reused = { reused: true }
      assert.deepStrictEqual(recoveryOf(failure(refusal(status), reused), standard), retry("context_refused"))
      const owned = { ...reused, selfContained: false }
      assert.deepStrictEqual(recoveryOf(failure(refusal(status), owned), standard), surface)
    }
    for (const status of [401, 403, 429, 500, 503]) {
      assert.deepStrictEqual(recoveryOf(failure(refusal(status), { reused: true }), standard), surface)
    }
  })

  it("stays on a lane where a fork was refused, and leaves lanes where those were", () => {
    const forked = { ownSuffix: true, forked: true }
    for (const status of [400, 404, 409, 422]) {
      assert.deepStrictEqual(recoveryOf(failure(refusal(status), forked), standard), retry("fork_refused", false))
    }
    assert.deepStrictEqual(recoveryOf(failure(refusal(429), forked), standard), surface)
    const again = { ...forked, tried: new Set<RetryReason>(["fork_refused"]) }
    assert.deepStrictEqual(recoveryOf(failure(refusal(400), again), standard), surface)
    const laneless: Case = { reason: "lanes_refused", delivery: "Rejected", status: 400 }
    for (const rest of [{}, { ownSuffix: true }, { selfContained: false }, { growsConversation: true }]) {
      assert.deepStrictEqual(recoveryOf(failure(laneless, rest), standard), retry("lanes_refused"))
    }
    const tried = new Set<RetryReason>(["lanes_refused"])
    assert.deepStrictEqual(recoveryOf(failure(laneless, { tried }), standard), surface)
    assert.deepStrictEqual(recoveryOf(failure(laneless, { shown: true }), standard), surface)
  })

  it("goes over HTTP where the second socket in a row was closed unheard, if the turn may run twice", () => {
    const tried = new Set<RetryReason>(["upstream_closed"])
    const twice = { tried, socketsClosed: true }
    const overHttp = { _tag: "Http", reason: "sockets_closed" } as const
    assert.deepStrictEqual(recoveryOf(failure(closed, twice), standard), overHttp)
    assert.deepStrictEqual(recoveryOf(failure(closed, { tried }), standard), surface)
    assert.deepStrictEqual(recoveryOf(failure(closed, twice), { ...standard, retry: "strict" }), surface)
    assert.deepStrictEqual(recoveryOf(failure(closed, twice), { ...standard, transport: "websocket" }), surface)
    assert.deepStrictEqual(recoveryOf(failure(closed, { ...twice, growsConversation: true }), standard), surface)
  })

  it("takes a new connection where one has reached its limit, unless an anchor would be lost with it", () => {
    assert.deepStrictEqual(recoveryOf(failure(limit), standard), retry("connection_limit"))
    assert.deepStrictEqual(recoveryOf(failure(limit, { ownSuffix: true }), standard), retry("connection_limit"))
    assert.deepStrictEqual(recoveryOf(failure(limit, { selfContained: false }), standard), surface)
  })

  it("sends again what the upstream hung up on, but for an anchor that would be lost, and never when strict", () => {
    for (const delivery of ["Ambiguous", "Accepted"] as const) {
      const hungUp = { ...closed, delivery }
      assert.deepStrictEqual(recoveryOf(failure(hungUp), standard), retry("upstream_closed"))
      assert.deepStrictEqual(recoveryOf(failure(hungUp, { selfContained: false }), standard), surface)
      assert.deepStrictEqual(recoveryOf(failure(hungUp), { ...standard, retry: "strict" }), surface)
    }
  })

  it("runs no turn twice that adds to a conversation, and sends it again only where it did not run", () => {
    const grows = { growsConversation: true }
    for (const delivery of ["Ambiguous", "Accepted"] as const) {
      assert.deepStrictEqual(recoveryOf(failure({ ...closed, delivery }, grows), standard), surface)
    }
    assert.deepStrictEqual(recoveryOf(failure(lost, grows), standard), retry("socket_lost_before_send", false))
    assert.deepStrictEqual(recoveryOf(failure(limit, grows), standard), retry("connection_limit"))
    const refused = failure(refusal(400), { ...grows, ownSuffix: true })
    assert.deepStrictEqual(recoveryOf(refused, standard), retry("suffix_refused"))
  })

  it("takes HTTP for a message that is too big for the socket, however that was learned", () => {
    assert.deepStrictEqual(recoveryOf(failure(tooBig), standard), http("message_too_big"))
    assert.deepStrictEqual(recoveryOf(failure({ ...tooBig, delivery: "NotSent" }), standard), http("message_too_big"))
  })

  it("never goes over HTTP where the transport is to be the WebSocket", () => {
    const only = { ...standard, transport: "websocket" } as const
    for (const error of [tooBig, { reason: "dial_failed", delivery: "NotSent" }] satisfies ReadonlyArray<Case>) {
      assert.deepStrictEqual(recoveryOf(failure(error), only), surface)
    }
    assert.deepStrictEqual(recoveryOf(failure(lost), only), retry("socket_lost_before_send", false))
  })

  it("never recovers from what we ended ourselves, nor from a broken protocol", () => {
    const ours = [
      "first_event_timeout",
      "event_timeout",
      "turn_timeout",
      "ping_timeout",
      "slow_client",
      "upstream_protocol",
      "internal",
      "shutdown",
    ] as const
    for (const reason of ours) {
      for (const delivery of ["Ambiguous", "Accepted"] as const) {
        assert.deepStrictEqual(recoveryOf(failure({ reason, delivery }, { ownSuffix: true }), standard), surface)
      }
    }
  })

  it("recovers from nothing once something was shown, and from each cause once", () => {
    const all = Reasons.literals.flatMap((reason) =>
      Deliveries.literals.flatMap((delivery) =>
        [undefined, 400, 500].map((status): Case =>
          status === undefined ? { reason, delivery } : { reason, delivery, status },
        ),
      ),
    )
    for (const error of [...all, limit]) {
      assert.deepStrictEqual(recoveryOf(failure(error, { shown: true, ownSuffix: true }), standard), surface)
      const tried = new Set<RetryReason>()
      for (let attempts = 0; ; attempts++) {
        const recovery = recoveryOf(failure(error, { ownSuffix: true, tried }), standard)
        if (recovery._tag !== "Retry") break
        assert.isFalse(tried.has(recovery.reason))
        tried.add(recovery.reason)
        assert.isBelow(attempts, 4)
      }
    }
  })
})
