import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ask } from "../../support/Ask.ts"
import { completed } from "../../support/HttpTurn.ts"
import { PlainUpstream } from "../../support/PlainUpstream.ts"
import { rawConnection } from "../../support/RawConnection.ts"
import { TestProxy } from "../../support/TestProxy.ts"

/** What a browser, an edge or a proxy in front of respool says of the client and of the way. */
const ofTheWay = [
  ["cf-connecting-ip", "203.0.113.7"],
  ["cf-ray", "8f00-FRA"],
  ["cf-ipcountry", "DE"],
  ["cf-visitor", '{"scheme":"https"}'],
  ["cf-access-jwt-assertion", "test-edge-token"],
  ["cdn-loop", "cloudflare; loops=1"],
  ["true-client-ip", "203.0.113.7"],
  ["x-real-ip", "203.0.113.7"],
  ["x-client-ip", "203.0.113.7"],
  ["x-cluster-client-ip", "203.0.113.7"],
  ["x-envoy-external-address", "203.0.113.7"],
  ["x-envoy-expected-rq-timeout-ms", "15000"],
  ["x-original-url", "/inner"],
  ["x-original-forwarded-for", "203.0.113.7"],
  ["x-original-host", "inner.example"],
  ["x-forwarded-for", "203.0.113.7"],
  ["x-forwarded", "for=203.0.113.7"],
  ["forwarded", "for=203.0.113.7"],
  ["via", "2 edge"],
  ["fly-client-ip", "203.0.113.7"],
  ["fly-region", "fra"],
  ["x-vercel-id", "fra1::abc"],
  ["x-vercel-ip-country", "DE"],
  ["origin", "https://app.example"],
  ["referer", "https://app.example/chat?id=7"],
  ["sec-fetch-mode", "cors"],
  ["sec-fetch-dest", "empty"],
  ["sec-ch-ua", '"Chromium";v="140"'],
  ["dnt", "1"],
  ["x-azure-clientip", "203.0.113.7"],
  ["fastly-client-ip", "203.0.113.7"],
  ["cloudfront-viewer-country", "DE"],
  ["x-amzn-oidc-data", "test-edge-token"],
  ["x-goog-iap-jwt-assertion", "test-edge-token"],
  ["x-auth-request-email", "anna@example.com"],
  ["tailscale-user-login", "anna@example.com"],
] as const

/** What clients set for the upstream. */
const ofClients = [
  ["openai-organization", "org-a"],
  ["openai-project", "proj-a"],
  ["x-stainless-lang", "js"],
  ["user-agent", "client/1"],
  ["x-client-request-id", "request-1"],
  ["idempotency-key", "once"],
  ["x-ms-client-request-id", "request-1"],
  ["cf-aig-cache-ttl", "3600"],
  ["traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
  ["accept-language", "de"],
] as const

const says = { http: () => new Response(completed, { headers: { "content-type": "text/event-stream" } }) }

const heardOf = Effect.fnUntraced(function* (path: string, method: string) {
  const { url } = yield* TestProxy
  const { heard } = yield* PlainUpstream
  const { ask } = yield* rawConnection(url)
  const headers = [
    ["authorization", "Bearer test-key-a"],
    ["content-type", "application/json"],
    ...ofTheWay,
    ...ofClients,
  ]
  const body = JSON.stringify({ model: "m", input: "Hello", stream: true })
  const answer = yield* ask({ method, path, headers: headers as never, ...(method === "POST" ? { body } : {}) })
  assert.strictEqual(answer.status, 200, answer.text)
  const request = heard.at(-1)
  if (request === undefined) throw new Error("nothing was heard")
  return request.headers
})

const names = ofTheWay.map(([name]) => name).filter((name) => name !== "cdn-loop")

describe("A header of the way to respool", () => {
  for (const [path, method] of [
    ["/v1/responses", "POST"],
    ["/v1/files", "POST"],
    ["/v1/models", "GET"],
  ] as const) {
    it.effect(`stays there, and the client's own go on: ${method} ${path}`, () =>
      Effect.gen(function* () {
        const headers = yield* heardOf(path, method)
        for (const name of names) assert.isFalse(headers.has(name), name)
        assert.notInclude(headers.get("cdn-loop") ?? "", "cloudflare")
        for (const [name, value] of ofClients) assert.strictEqual(headers.get(name), value, name)
      }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied(says, { transport: "http" }))),
    )
  }

  it.effect("goes on where the settings name it", () =>
    Effect.gen(function* () {
      const headers = yield* heardOf("/v1/responses", "POST")
      assert.strictEqual(headers.get("cf-ray"), "8f00-FRA")
      assert.strictEqual(headers.get("x-vercel-id"), "fra1::abc")
      assert.isFalse(headers.has("cf-connecting-ip"))
    }).pipe(
      Effect.scoped,
      Effect.provide(
        PlainUpstream.layerProxied(says, { transport: "http", forwardHeaders: ["cf-ray", "x-vercel-id"] }),
      ),
    ),
  )
})

describe("A request without a body, or without a type of it", () => {
  const requests: ReadonlyArray<
    readonly [method: string, path: string, type: string | undefined, body: string | undefined]
  > = [
    ["POST", "/v1/responses/resp_1/cancel", undefined, ""],
    ["POST", "/v1/responses/resp_1/cancel", undefined, undefined],
    ["POST", "/v1/conversations", undefined, ""],
    ["DELETE", "/v1/responses/resp_1", undefined, undefined],
    ["PUT", "/v1/things", undefined, ""],
    ["POST", "/v1/things", undefined, "{}"],
    ["POST", "/v1/responses/resp_1/cancel", "application/json", ""],
    ["POST", "/v1/things", "text/plain", "text"],
  ]
  it.effect.each(requests)("goes up as the client sent it: %s", ([method, path, type, body]) =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const { ask } = yield* rawConnection(url)
      const headers = [["authorization", "Bearer test-key-a"] as const]
      const answer = yield* ask({
        method,
        path,
        headers: type === undefined ? headers : [...headers, ["content-type", type]],
        ...(body === undefined ? {} : { body }),
      })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(heard[0]?.headers.get("content-type") ?? undefined, type)
      assert.strictEqual(heard[0]?.body, body ?? "")
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied({ http: () => new Response("{}") }))),
  )

  const mark = "\ufeff"
  const bodies = [
    `${mark}{"model":"m","input":"Hello"}`,
    `${mark}\n{"model":"m","input":"Hello"}`,
    `${mark}  {"input":"Hello","model":"m","stream":true}`,
    `${mark}{"model":"m","input":[{"role":"user","content":"${mark}Hello"}]}`,
    `${mark}{"model":"m","input":"Hello","background":true}`,
    `${mark}{"model":"m","store":false,"input":[]}`,
  ]
  it.effect.each(bodies)("is a turn that goes over HTTP without the byte order mark: %s", (body) =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const answer = yield* ask(`${url}/responses`, { key: "test-key-a", body })
      assert.strictEqual(answer.status, 200, answer.text)
      assert.strictEqual(heard[0]?.body, body.slice(1))
    }).pipe(Effect.provide(PlainUpstream.layerProxied(says, { transport: "http" }))),
  )
})
