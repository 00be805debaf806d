/**
 * Requests of several callers over HTTP, to an upstream that answers on each connection in the name of whoever spoke
 * there first: what an answer that nobody asked for comes to, once another caller's request follows it.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Scope } from "effect"
import { Context, Effect, Layer } from "effect"
import type { SettingsValues } from "../../src/config/Settings.ts"
import type { Asked } from "../support/Ask.ts"
import { ask } from "../support/Ask.ts"
import { authority, loopback } from "../support/Certificate.ts"
import { connectProxy } from "../support/ConnectProxy.ts"
import type { Line, RawUpstream } from "../support/RawUpstream.ts"
import { head, rawUpstream } from "../support/RawUpstream.ts"
import { runs } from "../support/Runs.ts"
import { makeTenancy, startProxy } from "../support/Tenancy.ts"
import { TestProxy } from "../support/TestProxy.ts"

const whoIn = (text: string): string => /who-\w+/.exec(text)?.[0] ?? "who-nobody"

const answerTo = (body: string, who: string) => {
  const response = `{"id":"resp_${who}","object":"response","status":"completed","output":[],"data":[{"id":"${who}"}]}`
  if (!body.includes('"stream":true')) return ["application/json", response]
  return ["text/event-stream", `data: {"type":"response.completed","sequence_number":0,"response":${response}}\n\n`]
}

const firstSpeaker = (tls?: { readonly cert: string; readonly key: string }) => {
  const speakers = new Map<Line, string>()
  return rawUpstream((line, { body, head: asked }) => {
    const who = speakers.get(line) ?? whoIn(`${asked}${body}`)
    speakers.set(line, who)
    const [type, text = ""] = answerTo(body, who)
    line.write(head(200, `content-type: ${type}`, `content-length: ${Buffer.byteLength(text)}`), text)
  }, tls)
}

type As = Readonly<Record<string, string>>
type Way = (who: string) => Asked & { readonly path: string }

const turn = (members: object): Way => {
  return (who) => ({ path: "/responses", body: JSON.stringify({ model: "m", input: who, ...members }) })
}

const ofTenants: Readonly<Record<string, Way>> = {
  "a turn": turn({}),
  "a turn that streams": turn({ stream: true }),
  "a turn in the background": turn({ background: true }),
  "a request to compact": (who) => ({ path: "/responses/compact", body: `{"model":"m","input":"${who}"}` }),
  "the list of models": (who) => ({ path: `/models?${who}` }),
}

const ways: Readonly<Record<string, Way>> = {
  ...ofTenants,
  "a list of files": (who) => ({ path: `/files?${who}` }),
  "a deletion": (who) => ({ path: `/files/${who}`, method: "DELETE" }),
  "a request for embeddings": (who) => ({ path: "/embeddings", body: `{"model":"m","input":"${who}"}` }),
  "an upload": (who) => ({ path: "/files", body: who, headers: { "content-type": "application/octet-stream" } }),
}

const callers: ReadonlyArray<As> = [
  { authorization: "Bearer test-key-a" },
  { authorization: "Bearer test-key-b" },
  { authorization: "Basic dGVzdC1rZXk=" },
]

const unknown: ReadonlyArray<As> = [{}, { authorization: "" }, { authorization: "Bearer test-key a" }]

const rounds = 2

/** Each caller asks, one after the other and all once more; every answer is its own. */
const inTurn = Effect.fnUntraced(function* (url: string, way: Way, asking: ReadonlyArray<As>) {
  for (let round = 0; round < rounds; round++) {
    for (const [caller, as] of asking.entries()) {
      const { path, ...asked } = way(`who-caller${caller}`)
      const { status, text } = yield* ask(`${url}${path}`, { ...asked, headers: { ...asked.headers, ...as } })
      assert.strictEqual(status, 200, text)
      assert.strictEqual(whoIn(text), `who-caller${caller}`)
    }
  }
})

type Reached = { readonly upstream: RawUpstream; readonly settings: Partial<SettingsValues> }

const reached: Readonly<Record<string, Effect.Effect<Reached, never, Scope.Scope>>> = {
  "an upstream": Effect.map(firstSpeaker(), (upstream) => ({
    upstream,
    settings: { upstreamUrl: `http://127.0.0.1:${upstream.port}/v1` },
  })),
  "an upstream with TLS": Effect.suspend(() => {
    const ca = authority()
    return Effect.map(firstSpeaker(ca.leaf(loopback)), (upstream) => ({
      upstream,
      settings: { upstreamUrl: `https://127.0.0.1:${upstream.port}/v1`, tls: { ca: ca.cert } },
    }))
  }),
  "an upstream whose certificate is not verified": Effect.suspend(() =>
    Effect.map(firstSpeaker(authority().leaf(loopback)), (upstream) => ({
      upstream,
      settings: { upstreamUrl: `https://127.0.0.1:${upstream.port}/v1`, tlsVerify: "off" as const },
    })),
  ),
  "an upstream that is shown a certificate": Effect.suspend(() => {
    const ca = authority()
    return Effect.map(firstSpeaker(ca.leaf(loopback)), (upstream) => ({
      upstream,
      settings: {
        upstreamUrl: `https://127.0.0.1:${upstream.port}/v1`,
        tls: { ca: ca.cert, ...ca.leaf("client.test") },
      },
    }))
  }),
  "an upstream behind a proxy": Effect.gen(function* () {
    const upstream = yield* firstSpeaker()
    const { address } = yield* connectProxy()
    return { upstream, settings: { upstreamUrl: `http://127.0.0.1:${upstream.port}/v1`, proxy: address } }
  }),
  "an upstream with TLS behind a proxy": Effect.gen(function* () {
    const ca = authority()
    const upstream = yield* firstSpeaker(ca.leaf(loopback))
    const { address } = yield* connectProxy()
    const settings = { upstreamUrl: `https://127.0.0.1:${upstream.port}/v1`, proxy: address, tls: { ca: ca.cert } }
    return { upstream, settings }
  }),
}

const started = (settings: Partial<SettingsValues>) =>
  Effect.map(Layer.build(TestProxy.layerProxy({ transport: "http", ...settings })), (context) =>
    Context.get(context, TestProxy),
  )

describe("A connection over HTTP is never shared by two callers", () => {
  for (const [name, reach] of Object.entries(reached)) {
    it.effect(`to ${name}, and is used again by its own`, () =>
      Effect.gen(function* () {
        const { settings, upstream } = yield* reach
        const { url } = yield* started(settings)
        for (const way of Object.values(ways)) yield* inTurn(url, way, callers)
        assert.strictEqual(upstream.lines.length, callers.length)
      }),
    )
  }

  for (const [name, way] of Object.entries(ways)) {
    it.effect(`for ${name}, and by none twice who is not known`, () =>
      Effect.gen(function* () {
        const { settings, upstream } = yield* reached["an upstream"]!
        const { url } = yield* started(settings)
        yield* inTurn(url, way, [...unknown, ...callers])
        assert.strictEqual(upstream.lines.length, rounds * unknown.length + callers.length)
      }),
    )
  }

  it.effect("by the tenants of one account", () =>
    Effect.gen(function* () {
      const { settings, upstream } = yield* reached["an upstream"]!
      const tenancy = yield* makeTenancy
      const { url } = yield* startProxy(tenancy, settings.upstreamUrl ?? "", { transport: "http" })
      const asking = [tenancy.a, tenancy.b, tenancy.c].map(({ secret }) => ({ authorization: `Bearer ${secret}` }))
      for (const way of Object.values(ofTenants)) yield* inTurn(url, way, asking)
      assert.strictEqual(upstream.lines.length, asking.length)
    }),
  )

  it.effect("where answers that nobody asked for come under load", () =>
    Effect.gen(function* () {
      const upstream = yield* rawUpstream((line, { head: asked }) => {
        const text = answerTo("", whoIn(asked))[1] ?? ""
        const answer = `${head(200, "content-type: application/json", `content-length: ${text.length}`)}${text}`
        line.write(answer, answer)
      })
      const { url } = yield* started({ upstreamUrl: `http://127.0.0.1:${upstream.port}/v1` })
      // More callers at once than Bun keeps pools.
      const asking = Array.from({ length: 120 }, (_, caller) => `caller${caller}`)
      const answers = yield* Effect.forEach(
        Array.from({ length: runs(12_000, 600) }, (_, at) => asking[at % asking.length] ?? ""),
        (caller) =>
          Effect.map(ask(`${url}/files?who-${caller}`, { key: `test-key-${caller}` }), (answer) => ({
            answer,
            caller,
          })),
        { concurrency: 64 },
      )
      const foreign = answers.filter(
        ({ answer, caller }) => answer.status === 200 && whoIn(answer.text) !== `who-${caller}`,
      )
      assert.lengthOf(foreign, 0)
      assert.isAbove(answers.filter(({ answer }) => answer.status === 200).length, answers.length / 2)
    }),
  )
})
