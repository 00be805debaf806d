/**
 * What respool learns of an upstream that does not do what others do, so that not every turn finds it out again.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import type { Answer } from "../support/Ask.ts"
import { errorIn, outputOf } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { user } from "../support/Items.ts"
import { emptyResponse, PlainUpstream } from "../support/PlainUpstream.ts"
import { objectIn } from "../support/Parsed.ts"
import { TestProxy } from "../support/TestProxy.ts"

const way = ({ headers }: Answer) =>
  ["transport", "connection", "input", "reason"].map((name) => headers.get(`x-respool-${name}`)).join(" ")

let turns = 0

/** An honest answer of one turn. */
const answers = (): ReadonlyArray<string> => {
  const count = ++turns
  const said = `{"type":"message","id":"msg_${count}","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Yes?"}]}`
  const response = (status: string, output: string) =>
    `{"id":"resp_${count}","object":"response","status":"${status}","output":[${output}]}`
  return [
    `{"type":"response.created","sequence_number":0,"response":${response("in_progress", "")}}`,
    `{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":${said}}`,
    `{"type":"response.output_item.done","sequence_number":2,"output_index":0,"item":${said}}`,
    `{"type":"response.completed","sequence_number":3,"response":${response("completed", said)}}`,
  ]
}

const refuses = (status: number, code: string) =>
  `{"type":"error","status":${status},"error":{"type":"invalid_request_error","code":"${code}","message":"No.","param":null}}`

const assistant = (content: string) => ({ role: "assistant" as const, content })

/** The turns of one conversation: each has the whole history, which grows by two items. */
const conversation = () => {
  const input: Array<JsonObject> = []
  return Effect.gen(function* () {
    input.push(user(`Turn ${input.length}`))
    const answer = yield* post({ input: [...input] }, { headers: { "session-id": "one" } })
    input.push(...outputOf(answer))
    return answer
  })
}

const has = (member: string) => (message: string) => objectIn(message)?.[member] !== undefined

describe("An upstream that refuses every anchor of respool's", () => {
  const refusals: ReadonlyArray<readonly [status: number, code: string]> = [
    [400, "previous_response_not_found"],
    [400, "unsupported_parameter"],
    [404, "not_found"],
    [409, "conflict"],
    [413, "too_large"],
    [422, "unprocessable"],
  ]
  for (const [status, code] of refusals) {
    it.effect(
      `with ${status} ${code} is asked in full after three, on the same connection, and again after a while`,
      () =>
        Effect.gen(function* () {
          const { heard } = yield* PlainUpstream
          const turn = conversation()
          const ways: Array<string> = []
          for (let count = 0; count < 6; count++) ways.push(way(yield* turn))
          assert.deepStrictEqual(ways, [
            "websocket new full no_checkpoint",
            "websocket new full suffix_refused",
            "websocket new full suffix_refused",
            "websocket new full suffix_refused",
            "websocket reused full anchors_refused",
            "websocket reused full anchors_refused",
          ])
          assert.strictEqual(heard.filter(({ body }) => has("previous_response_id")(body)).length, 3)
          yield* TestClock.adjust("5 minutes")
          assert.strictEqual(way(yield* turn), "websocket new full suffix_refused")
          assert.strictEqual(way(yield* turn), "websocket reused full anchors_refused")
        }).pipe(
          Effect.provide(
            PlainUpstream.layerProxied({
              frames: (message) => (has("previous_response_id")(message) ? [refuses(status, code)] : answers()),
            }),
          ),
        ),
    )
  }

  it.effect("now and then is not taken for one", () => {
    let asked = 0
    return Effect.gen(function* () {
      const turn = conversation()
      const ways: Array<string> = []
      for (let count = 0; count < 13; count++) ways.push(way(yield* turn))
      assert.isFalse(
        ways.some((each) => each.endsWith("anchors_refused")),
        ways.join("\n"),
      )
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied({
          frames: (message) =>
            has("previous_response_id")(message) && ++asked % 3 !== 0 ? [refuses(400, "odd")] : answers(),
        }),
      ),
    )
  })

  it.effect("because of the turn, not of the anchor, is not taken for one", () =>
    Effect.gen(function* () {
      for (let count = 0; count < 4; count++) {
        const input = [user("Hello")]
        const answer = yield* post({ input })
        const bad = yield* post({ input: [...input, ...outputOf(answer), user("Bad")], temperature: 9 })
        assert.strictEqual(bad.status, 400)
      }
      const turn = conversation()
      yield* turn
      assert.strictEqual(way(yield* turn), "websocket reused suffix continued")
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied({
          frames: (message) => (has("temperature")(message) ? [refuses(400, "bad_temperature")] : answers()),
        }),
      ),
    ),
  )
})

describe("An upstream that closes with 1009", () => {
  const limit = 4096
  const proxied = PlainUpstream.layerProxied({
    frames: answers,
    ends: (message) => ((message ?? "").length > limit ? 1009 : undefined),
    http: () => new Response(emptyResponse()),
  })
  const turn = (length: number) => post({ input: "x".repeat(length) })

  it.effect("gets no message of that size or more a second time, and smaller ones as before", () =>
    Effect.gen(function* () {
      const { heard } = yield* PlainUpstream
      const uploads = () => heard.filter(({ method }) => method === "WS").length
      assert.strictEqual(way(yield* turn(8000)), "http new full message_too_big")
      assert.strictEqual(uploads(), 1)
      for (const length of [8000, 8001, 100_000]) {
        assert.strictEqual(way(yield* turn(length)), "http new full message_too_big")
      }
      assert.strictEqual(uploads(), 1)
      assert.match(way(yield* turn(100)), /^websocket /)
      // A smaller one is tried, and is what is known from then on.
      assert.strictEqual(way(yield* turn(6000)), "http new full message_too_big")
      assert.strictEqual(uploads(), 3)
      assert.strictEqual(way(yield* turn(6000)), "http new full message_too_big")
      assert.strictEqual(way(yield* turn(7000)), "http new full message_too_big")
      assert.strictEqual(uploads(), 3)
    }).pipe(Effect.provide(proxied)),
  )

  it.effect("is tried again after an hour", () =>
    Effect.gen(function* () {
      const { heard } = yield* PlainUpstream
      yield* turn(8000)
      yield* TestClock.adjust("1 hour")
      yield* turn(8000)
      assert.lengthOf(
        heard.filter(({ method }) => method === "WS"),
        2,
      )
    }).pipe(Effect.provide(proxied)),
  )
})

describe("A connection that refuses because of what it carried before", () => {
  const upstream = (kinds: { readonly first: string; readonly refusal: string }) => {
    let asked = 0
    const frames = () => {
      asked++
      const [created = "", added = "", done = "", end = ""] = answers()
      if (asked === 1) return [created, added, done, end.replaceAll("completed", kinds.first)]
      return asked === 2 ? [kinds.refusal] : [created, added, done, end]
    }
    // With one connection at a time the next conversation takes over what carried another.
    return PlainUpstream.layerProxied({ frames }, { maxConnections: 1 })
  }
  const items = [user("Hello"), assistant("Yes?"), user("Go on")]
  const cases: ReadonlyArray<readonly [first: string, refusal: string]> = [
    ["incomplete", refuses(400, "duplicate_item")],
    ["incomplete", refuses(409, "conflict")],
    ["incomplete", refuses(422, "unprocessable")],
    ["completed", refuses(400, "duplicate_item")],
    ["completed", refuses(404, "not_found")],
    ["completed", refuses(400, "previous_response_not_found")],
  ]
  for (const [first, refusal] of cases) {
    it.effect(`after ${first} is left for a new one, whatever was sent: ${refusal}`, () =>
      Effect.gen(function* () {
        yield* post({ input: [user("Another")] }, { headers: { "session-id": "one" } })
        const answer = yield* post({ input: items }, { headers: { "session-id": "one" } })
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(way(answer), "websocket new full context_refused")
        assert.lengthOf(outputOf(answer), 1)
      }).pipe(Effect.provide(upstream({ first, refusal }))),
    )
  }

  it.effect("is believed where a new connection refuses as well, and nothing is sent a third time", () =>
    Effect.gen(function* () {
      const { heard } = yield* PlainUpstream
      yield* post({ input: [user("Another")] }, { headers: { "session-id": "one" } })
      const answer = yield* post({ input: items, temperature: 9 }, { headers: { "session-id": "one" } })
      assert.strictEqual(answer.status, 400)
      assert.deepInclude(errorIn(answer), { code: "bad_temperature" })
      assert.lengthOf(heard, 3)
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied(
          { frames: (message) => (has("temperature")(message) ? [refuses(400, "bad_temperature")] : answers()) },
          { maxConnections: 1 },
        ),
      ),
    ),
  )
})

describe("An upstream that closes each socket before it says anything", () => {
  const ends: ReadonlyArray<readonly [how: string, end: number | "cut", when: "message" | "opening"]> = [
    ["with 1000", 1000, "message"],
    ["with 1001", 1001, "message"],
    ["with 1011", 1011, "message"],
    ["with 1012", 1012, "message"],
    ["with 4000", 4000, "message"],
    ["without a close frame", "cut", "message"],
    ["with 1000 as it opens", 1000, "opening"],
    ["with 1011 as it opens", 1011, "opening"],
    ["without a close frame as it opens", "cut", "opening"],
  ]
  const proxied = (end: number | "cut", when: "message" | "opening", settings: Partial<SettingsValues> = {}) =>
    PlainUpstream.layerProxied(
      {
        frames: answers,
        ends: (message) => ((message === undefined) === (when === "opening") ? end : undefined),
        http: () => new Response(emptyResponse()),
      },
      settings,
    )
  const turn = post({ input: "Hello" })

  for (const [how, end, when] of ends) {
    it.effect(`${how} is asked over HTTP after two, for five minutes`, () =>
      Effect.gen(function* () {
        const { begun, heard } = yield* PlainUpstream
        const uploads = () => heard.filter(({ method }) => method === "WS").length
        // A turn that was never sent may find the pause after a failed dial in its way, which is over after a second.
        for (let count = 0; count < 2; count++) {
          const first = yield* turn
          assert.strictEqual(first.status, 200)
          assert.match(way(first), /^http /)
          if (when === "message") assert.match(way(first), /sockets_closed$/)
          yield* TestClock.adjust("1 second")
        }
        const before = uploads()
        assert.isAtMost(before, 2)
        assert.strictEqual(way(yield* turn), "http new full sockets_closed")
        yield* TestClock.adjust("4 minutes")
        assert.strictEqual(way(yield* turn), "http new full sockets_closed")
        assert.strictEqual(uploads(), before)
        assert.strictEqual(begun(), 4)
      }).pipe(Effect.provide(proxied(end, when))),
    )
  }

  it.effect("is one error for a turn that must not run twice, and HTTP for the next", () =>
    Effect.gen(function* () {
      for (let count = 0; count < 2; count++) {
        const answer = yield* turn
        assert.strictEqual(answer.status, 502)
        assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      }
      assert.strictEqual(way(yield* turn), "http new full sockets_closed")
    }).pipe(Effect.provide(proxied(1011, "message", { retry: "strict" }))),
  )

  it.effect("is tried each time where there is no HTTP", () =>
    Effect.gen(function* () {
      const { heard } = yield* PlainUpstream
      for (let count = 1; count <= 3; count++) {
        assert.strictEqual((yield* turn).status, 502)
        assert.lengthOf(heard, 2 * count)
      }
    }).pipe(Effect.provide(proxied(1011, "message", { transport: "websocket" }))),
  )

  it.effect("for one caller is no reason to keep another from its sockets", () =>
    Effect.gen(function* () {
      yield* post({ input: "Bad" })
      assert.strictEqual(way(yield* post({ input: "Bad" })), "http new full sockets_closed")
      assert.match(way(yield* post({ input: "Hello" }, { key: "test-key-b" })), /^websocket /)
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied({
          frames: answers,
          ends: (message) => (message?.includes("Bad") === true ? 1011 : undefined),
          http: () => new Response(emptyResponse()),
        }),
      ),
    ),
  )

  it.effect("now and then is not taken for one", () => {
    let asked = 0
    return Effect.gen(function* () {
      for (let count = 0; count < 8; count++) {
        const answer = yield* post({ input: `Turn ${count}`, user: `user ${count}` })
        assert.match(way(answer), /^websocket new full (no_checkpoint|upstream_closed)$/)
      }
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied({
          frames: answers,
          ends: (message) => (message !== undefined && ++asked % 2 === 1 ? 1011 : undefined),
        }),
      ),
    )
  })

  for (const code of [1003, 1008]) {
    for (const retry of ["standard", "strict"] as const) {
      it.effect(`by policy (${code}) has refused the turn, which goes over HTTP at once with ${retry}`, () =>
        Effect.gen(function* () {
          const { heard } = yield* PlainUpstream
          assert.strictEqual(way(yield* turn), "http new full policy_close")
          assert.lengthOf(heard, 2)
          assert.strictEqual(way(yield* turn), "http new full policy_close")
          assert.strictEqual(way(yield* turn), "http new full sockets_closed")
        }).pipe(Effect.provide(proxied(code, "message", { retry }))),
      )
    }
  }

  it.effect("says so in one line, and why each connection ended at debug", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      for (let count = 0; count < 3; count++) yield* turn
      assert.lengthOf(
        logged.filter((line) => line.includes("closes its sockets before it says anything")),
        1,
      )
      const ended = logged.filter((line) => line.includes("a connection ended"))
      assert.lengthOf(ended, 2)
      for (const line of ended) assert.match(line, /reason=closed .*\(1011\)/)
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied(
          {
            frames: answers,
            ends: (message) => (message === undefined ? undefined : 1011),
            http: () => new Response(emptyResponse()),
          },
          {},
          "Debug",
        ),
      ),
    ),
  )
})

describe("A refused upgrade", () => {
  const page = "<html><body>Just a moment...</body></html>"
  const refusing = (status: number, body: string) =>
    PlainUpstream.layerProxied({
      upgrade: () => new Response(body, { status, headers: { "content-type": "text/html" } }),
      http: () => new Response(emptyResponse()),
    })
  for (const status of [401, 403, 429]) {
    for (const body of [page, "", "Forbidden", "error code: 1020", " \n<!doctype html>"]) {
      it.effect(`with ${status} that is not the API's goes over HTTP: ${JSON.stringify(body)}`, () =>
        Effect.gen(function* () {
          const answer = yield* post({ input: "Hello" })
          assert.strictEqual(answer.status, 200)
          assert.strictEqual(way(answer), "http new full upgrade_refused")
          assert.strictEqual(way(yield* post({ input: "Hello" })), "http new full dial_backoff")
        }).pipe(Effect.provide(refusing(status, body))),
      )
    }
    it.effect(`with ${status} of the API's own is the client's answer`, () =>
      Effect.gen(function* () {
        const answer = yield* post({ input: "Hello" })
        assert.strictEqual(answer.status, status)
        assert.deepInclude(errorIn(answer), { code: "no" })
      }).pipe(Effect.provide(refusing(status, `{"error":{"message":"No.","code":"no"}}`))),
    )
  }

  for (const [what, given, shown] of [
    ["the client's", "codex_cli_rs/0.171.0", "codex_cli_rs/0.171.0"],
    ["another client's, on the connection that the first opened", "other/1", "codex_cli_rs/0.171.0"],
  ] as const) {
    it.effect(`and one that is taken carries a user agent: ${what}`, () =>
      Effect.gen(function* () {
        const { heard } = yield* PlainUpstream
        const greet = (agent: string) => post({ input: [user("Hello")] }, { headers: { "user-agent": agent } })
        const first = yield* greet("codex_cli_rs/0.171.0")
        if (given === "other/1") {
          const input = [user("Hello"), ...outputOf(first), user("Go on")]
          const next = yield* post({ input }, { headers: { "user-agent": given } })
          assert.strictEqual(way(next), "websocket reused suffix continued")
        }
        assert.strictEqual(heard.at(-1)?.headers.get("user-agent"), shown)
      }).pipe(Effect.provide(PlainUpstream.layerProxied({ frames: answers }))),
    )
  }
})
