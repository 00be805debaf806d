import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { ask } from "../support/Ask.ts"
import type { Says } from "../support/PlainUpstream.ts"
import { PlainUpstream } from "../support/PlainUpstream.ts"
import { makeRecorder } from "../support/Recorder.ts"
import { makeTenancy, recordIds, startProxy } from "../support/Tenancy.ts"

/** What an upstream says of the account in its headers. */
const ofAccount = {
  "openai-organization": "acme-corp",
  "openai-project": "proj_AbCdEf123456",
  "openai-processing-ms": "12",
  "x-ratelimit-limit-requests": "5000",
  "x-ratelimit-remaining-tokens": "7",
  "x-ratelimit-reset-tokens": "1s",
  "x-codex-primary-used-percent": "42",
  "chatgpt-account-id": "acct_1",
  "x-ms-deployment-name": "acme",
}

const passing = { "retry-after": "3", "openai-version": "2020-10-01" }

/** Errors as upstreams word them, and what of them no tenant may read. */
const errors: ReadonlyArray<readonly [message: string, hidden: ReadonlyArray<string>, kept: string]> = [
  [
    "Rate limit reached for gpt-5.5 in organization org-AbCdEf123456 on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 2s.",
    ["org-AbCdEf123456", "30000", "29000"],
    "Please try again in 2s.",
  ],
  [
    "Rate limit reached for gpt-5.5 in organization acme-corp on requests per min. Limit: 3 / min. Current: 4 / min.",
    ["acme-corp", ": 3", ": 4"],
    "on requests per min.",
  ],
  [
    'Your organization "Acme Corp." must be verified to use the model `gpt-5.5`.',
    ["Acme"],
    "must be verified to use the model `gpt-5.5`",
  ],
  [
    "Your organization must be verified to use the model `gpt-5.5`.",
    [],
    "Your organization must be verified to use the model `gpt-5.5`.",
  ],
  [
    "Project `proj_AbCdEf123456` does not have access to model `gpt-5.5`",
    ["proj_AbCdEf123456"],
    "does not have access to model `gpt-5.5`",
  ],
  ["No such organization: org-acme.", ["org-acme"], "No such organization"],
  [
    "Incorrect API key provided: sk-proj-********abcd. You can find yours at https://example.test.",
    ["sk-proj", "abcd"],
    "Incorrect API key provided",
  ],
  [
    "You exceeded your current quota of organization Acme Industries, please check your plan.",
    ["Acme", "Industries"],
    "please check your plan",
  ],
]

const refusal = (message: string) =>
  JSON.stringify({
    error: { message, type: "requests", code: "rate_limit_exceeded", param: null, organization: "acme-corp" },
  })

const tenant = Effect.fnUntraced(function* (says: Says, transport: "http" | "websocket" = "http") {
  const tenancy = yield* makeTenancy
  yield* recordIds(tenancy, `key:${tenancy.a.id}`, ["resp_1"])
  const upstream = Context.get(yield* Layer.build(PlainUpstream.layer(says)), PlainUpstream)
  const { url } = yield* startProxy(tenancy, upstream.url, { transport, retry: "strict" })
  return { upstream, url, key: tenancy.a.secret, tenancy }
})

const body = (stream: boolean): JsonObject => ({ model: "gpt-5.5", input: "Hello", store: false, stream })

/** A request for each kind of path that tenants have. */
const requests = [
  ["/responses", { body: body(false) }],
  ["/responses", { body: body(true) }],
  ["/responses/compact", { body: body(false) }],
  ["/responses/resp_1", {}],
  ["/responses/resp_1", { method: "DELETE" }],
  ["/responses/resp_1/input_items", {}],
  ["/responses/resp_1/cancel", { method: "POST" }],
  ["/models", {}],
  ["/models/gpt-5.5", {}],
] as const

const clean = (headers: Headers) => {
  for (const name of Object.keys(ofAccount)) assert.isFalse(headers.has(name), name)
}

describe("A tenant of a shared account", () => {
  it.effect("reads no header about the account, of any answer", () =>
    Effect.gen(function* () {
      const text = `{"id":"resp_1","object":"response","status":"completed","output":[]}`
      const headers = { ...ofAccount, ...passing, "content-type": "application/json" }
      let status = 200
      const { key, url } = yield* tenant({ http: () => new Response(text, { status, headers }) })
      for (status of [200, 404, 429, 500]) {
        for (const [path, asked] of requests) {
          const answer = yield* ask(`${url}${path}`, { key, ...asked })
          assert.strictEqual(answer.status, status, path)
          clean(answer.headers)
          for (const [name, value] of Object.entries(passing)) assert.strictEqual(answer.headers.get(name), value, path)
        }
      }
    }).pipe(Effect.scoped),
  )

  it.effect("reads no name of it in a refusal, on any path", () =>
    Effect.gen(function* () {
      let said = ""
      const { key, url } = yield* tenant({ http: () => new Response(refusal(said), { status: 429 }) })
      for (const [message, hidden, kept] of errors) {
        said = message
        for (const [path, asked] of requests) {
          const { status, text } = yield* ask(`${url}${path}`, { key, ...asked })
          assert.strictEqual(status, 429)
          for (const secret of [...hidden, "acme-corp"]) assert.notInclude(text, secret, `${path} ${text}`)
          assert.include((JSON.parse(text) as { error: { message: string } }).error.message, kept)
        }
      }
    }).pipe(Effect.scoped),
  )

  it.effect(
    "reads none in an event, and no event about its limits, over either transport",
    () =>
      Effect.gen(function* () {
        const limits = `{"type":"codex.rate_limits","rate_limits":{"primary":{"used_percent":42}}}`
        const created = `{"type":"response.created","response":{"id":"resp_2","status":"in_progress","output":[]}}`
        const text = "Ask in organization acme-corp on Monday"
        const delta = `{"type":"response.output_text.delta","item_id":"msg_1","delta":"${text}"}`
        let events: ReadonlyArray<string> = []
        const sse = () => events.map((event) => `data: ${event}\n\n`).join("")
        const says: Says = {
          frames: () => events,
          http: () => new Response(sse(), { headers: { "content-type": "text/event-stream" } }),
        }
        const tenants = yield* Effect.all([tenant(says, "http"), tenant(says, "websocket")])
        for (const [message, hidden, kept] of errors) {
          const error = { code: "rate_limit_exceeded", message }
          const failed = JSON.stringify({
            type: "response.failed",
            response: { id: "resp_2", status: "failed", error, output: [] },
          })
          const flat = JSON.stringify({ type: "error", ...error, param: null })
          const envelope = JSON.stringify({ type: "error", status: 429, error, headers: ofAccount })
          for (events of [
            [limits, created, delta, failed],
            [created, failed],
            [created, delta, flat],
            [created, delta, envelope],
            [envelope],
          ]) {
            for (const { key, url } of tenants) {
              const answer = yield* ask(`${url}/responses`, { key, body: body(true) })
              clean(answer.headers)
              const errorText = answer.text.replace(text, "")
              for (const secret of [...hidden, "rate_limits", "ratelimit", "used_percent"]) {
                assert.notInclude(errorText, secret, answer.text)
              }
              assert.include(answer.text, kept)
              if (events.includes(delta)) assert.include(answer.text, text)
            }
          }
        }
      }).pipe(Effect.scoped),
    60_000,
  )

  it.effect("reads none in a response that was kept, whole or as a stream", () =>
    Effect.gen(function* () {
      const [message, hidden] = errors[0] ?? ["", []]
      const said = "Ask in organization acme-corp on Monday"
      const response = { id: "resp_1", object: "response", status: "failed", error: { message }, output: [said] }
      const event = JSON.stringify({ type: "response.failed", response })
      const { key, url } = yield* tenant({
        http: ({ url }) =>
          url.includes("stream")
            ? new Response(`event: response.failed\ndata: ${event}\n\n`, {
                headers: { "content-type": "text/event-stream" },
              })
            : Response.json(response),
      })
      for (const path of ["/responses/resp_1", "/responses/resp_1?stream=true"]) {
        const { text } = yield* ask(`${url}${path}`, { key })
        for (const secret of hidden) assert.notInclude(text, secret, text)
        assert.include(text, said)
      }
    }).pipe(Effect.scoped),
  )
})

describe("The names that tenants give", () => {
  const names = ["prompt_cache_key", "user", "safety_identifier"]
  const sentBy = (requests: ReadonlyArray<{ readonly body: string }>) => {
    const last = requests.at(-1)
    if (last === undefined) throw new Error("nothing arrived")
    return JSON.parse(last.body) as JsonObject
  }
  const given = { model: "gpt-5.5", input: "Hello", store: false }

  it.effect("are never the same upstream for two tenants, and always for one, also after a restart", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const recorder = yield* makeRecorder(() => `{"id":"resp_1","object":"response","output":[]}`)
      const { a, b, c, d } = tenancy
      const seen = new Map<string, string>()
      for (const start of ["first", "second"]) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { url } = yield* startProxy(tenancy, recorder.url, { transport: "http" })
            for (const path of ["/responses", "/responses/compact"]) {
              for (const value of ["same", "", "0".repeat(1000), "x\u0000y", "\ud83d\ude00"]) {
                for (const [who, { secret: key }] of Object.entries({ a, b, c, d })) {
                  const body = { ...given, ...Object.fromEntries(names.map((name) => [name, value])) }
                  yield* ask(`${url}${path}`, { key, body })
                  const sent = sentBy(recorder.requests)
                  assert.strictEqual(sent["input"], "Hello")
                  for (const name of names) {
                    const arrived = String(sent[name])
                    assert.match(arrived, /^respool-[\w-]{43}$/, `${start} ${path}`)
                    // Keys of one user are one tenant.
                    const owner = JSON.stringify([who === "d" ? "c" : who, name, value])
                    assert.strictEqual(seen.get(arrived) ?? owner, owner)
                    seen.set(arrived, owner)
                  }
                }
              }
            }
          }),
        )
      }
      assert.strictEqual(seen.size, 3 * 5 * names.length)
    }).pipe(Effect.scoped),
  )

  it.effect("are another tenant's by no spelling, nor by sending what arrived for it", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const recorder = yield* makeRecorder(() => `{"id":"resp_1","object":"response","output":[]}`)
      const { url } = yield* startProxy(tenancy, recorder.url, { transport: "http" })
      const send = (key: string, body: string) =>
        Effect.map(ask(`${url}/responses`, { key, body }), () => sentBy(recorder.requests)["prompt_cache_key"])
      const theirs = yield* send(tenancy.a.secret, `{"model":"m","prompt_cache_key":"shared"}`)
      for (const body of [
        `{"model":"m","prompt_cache_key":"shared"}`,
        `{"model":"m","prompt\\u005fcache_key":"\\u0073hared"}`,
        `{"model":"m","prompt_cache_key":${JSON.stringify(theirs)}}`,
        `{"prompt_cache_key" : "shared","model":"m"}`,
        `{"model":"m","prompt_cache_key":"key:${tenancy.a.id}"}`,
      ]) {
        const arrived = yield* send(tenancy.b.secret, body)
        assert.match(String(arrived), /^respool-/)
        assert.notStrictEqual(arrived, theirs, body)
      }
      for (const value of ["null", "1", "{}", `["shared"]`]) {
        const arrived = yield* send(tenancy.b.secret, `{"model":"m","prompt_cache_key":${value}}`)
        assert.deepStrictEqual(arrived, JSON.parse(value))
      }
      assert.isUndefined(yield* send(tenancy.b.secret, `{"model":"m"}`))
    }).pipe(Effect.scoped),
  )

  it.effect("go as they are where the settings say so", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const recorder = yield* makeRecorder(() => `{"id":"resp_1","object":"response","output":[]}`)
      const { url } = yield* startProxy(tenancy, recorder.url, { transport: "http", namespaceTenants: "off" })
      const body = `{"model":"m", "prompt_cache_key":"shared","user":"me","safety_identifier":"us"}`
      for (const path of ["/responses", "/responses/compact"]) {
        yield* ask(`${url}${path}`, { key: tenancy.a.secret, body })
        assert.strictEqual(recorder.requests.at(-1)?.body, body)
      }
    }).pipe(Effect.scoped),
  )

  it.effect("still name a session, which is continued", () =>
    Effect.gen(function* () {
      const answers: Array<string> = []
      const frames = (message: string) => {
        answers.push(message)
        const id = `resp_${answers.length}`
        const item = `{"type":"message","id":"msg_${answers.length}","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Yes.","annotations":[]}]}`
        return [
          `{"type":"response.created","response":{"id":"${id}","status":"in_progress","output":[]}}`,
          `{"type":"response.output_item.done","output_index":0,"item":${item}}`,
          `{"type":"response.completed","response":{"id":"${id}","status":"completed","output":[${item}]}}`,
        ]
      }
      const { key, url } = yield* tenant({ frames }, "websocket")
      const first = { role: "user", content: "One" }
      const turn = (input: ReadonlyArray<JsonObject>) =>
        ask(`${url}/responses`, { key, body: { ...given, input: [...input], prompt_cache_key: "chat" } })
      const answer = yield* turn([first])
      const output = answer.json?.["output"] as ReadonlyArray<JsonObject>
      const second = yield* turn([first, ...output, { role: "user", content: "Two" }])
      assert.strictEqual(second.headers.get("x-respool-reason"), "continued", second.text)
    }).pipe(Effect.scoped),
  )
})
