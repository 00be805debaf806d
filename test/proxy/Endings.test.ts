/**
 * How an upstream connection begins and ends, as an operator and the upstream see it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsValues } from "../../src/config/Settings.ts"
import packageJson from "../../package.json" with { type: "json" }
import { post } from "../support/AskProxy.ts"
import { eventually } from "../support/EventLoop.ts"
import { scraped, sum } from "../support/Exposition.ts"
import { emptyAnswer, emptyResponse, PlainUpstream } from "../support/PlainUpstream.ts"
import { rawConnection } from "../support/RawConnection.ts"
import { TestProxy } from "../support/TestProxy.ts"

const turn = (organization = "org-a") =>
  post({ input: "Hello" }, { headers: { "openai-organization": organization, "session-id": "one" } })

interface Ending {
  readonly frames?: ReadonlyArray<string>
  readonly ends?: number | "cut"
  readonly settings?: Partial<SettingsValues>
  /** What makes the connection end once a turn was answered, or was not. */
  readonly next?: Effect.Effect<unknown, never, TestProxy>
  readonly reason: string
  /** How many connections end so. */
  readonly count?: number
}

const endings: Readonly<Record<string, Ending>> = {
  "closed with 1000": { ends: 1000, reason: "closed", count: 2 },
  "closed with 1001": { ends: 1001, reason: "closed", count: 2 },
  "closed with 1011": { ends: 1011, reason: "closed", count: 2 },
  "closed with 4000": { ends: 4000, reason: "closed", count: 2 },
  "cut without a close frame": { ends: "cut", reason: "closed", count: 2 },
  "idle for too long": {
    settings: { idleTtl: 60_000 },
    next: TestClock.adjust("2 minutes"),
    reason: "idle",
  },
  "too old for the next turn": {
    settings: { maxAge: 60_000, idleTtl: 3_600_000 },
    next: Effect.andThen(TestClock.adjust("61 seconds"), turn()),
    reason: "age",
  },
  "closed to make room": { settings: { maxConnections: 1 }, next: turn("org-b"), reason: "capacity" },
}

describe("A connection that ends says why in one line at debug, and is counted by it", () => {
  for (const [how, { count = 1, ends, frames, reason, settings = {}, next = Effect.void }] of Object.entries(endings)) {
    it.effect(how, () =>
      Effect.gen(function* () {
        const { logged } = yield* TestProxy
        assert.strictEqual((yield* turn()).status, 200)
        yield* next
        const lines = () => logged.filter((line) => line.includes('message="a connection ended"'))
        yield* eventually(
          () => lines().length >= count,
          () => logged.join("\n"),
        )
        assert.lengthOf(lines(), count)
        for (const line of lines()) {
          assert.match(line, new RegExp(`level=DEBUG .*connectionId=\\d+ reason=${reason}( |$)`))
          if (typeof ends === "number") assert.include(line, `(${ends})`)
        }
        const samples = yield* scraped
        assert.strictEqual(sum(samples, "respool_evictions_total", { reason }), count)
        assert.strictEqual(sum(samples, "respool_evictions_total"), count)
      }).pipe(
        Effect.provide(
          PlainUpstream.layerProxied(
            {
              frames: () => frames ?? [emptyAnswer()],
              ends: (message) => (message === undefined ? undefined : ends),
              http: () => new Response(emptyResponse()),
            },
            settings,
            "Debug",
          ),
        ),
        Effect.provideService(Metric.MetricRegistry, new Map()),
      ),
    )
  }
})

describe("An upgrade carries a user agent", () => {
  const agents: ReadonlyArray<readonly [given: string | undefined, shown: string]> = [
    ["codex_cli_rs/0.171.0", "codex_cli_rs/0.171.0"],
    ["OpenAI/JS 7.59.0", "OpenAI/JS 7.59.0"],
    ["python-httpx/0.28.1", "python-httpx/0.28.1"],
    ["Mozilla/5.0 (X11; Linux x86_64) agent/1", "Mozilla/5.0 (X11; Linux x86_64) agent/1"],
    ["x", "x"],
    [undefined, `respool/${packageJson.version}`],
  ]
  it.effect.each(agents)("the client's, else respool's own: %s", ([given, shown]) =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const { heard } = yield* PlainUpstream
      const { ask } = yield* rawConnection(url)
      const headers = [
        ["authorization", "Bearer test-key-a"] as const,
        ...(given === undefined ? [] : [["user-agent", given] as const]),
      ]
      const answer = yield* ask({ headers, body: `{"model":"gpt-5.5","input":"Hello"}` })
      assert.strictEqual(answer.headers.get("x-respool-transport"), "websocket", answer.text)
      assert.strictEqual(heard.at(-1)?.headers.get("user-agent"), shown)
    }).pipe(Effect.scoped, Effect.provide(PlainUpstream.layerProxied({ frames: () => [emptyAnswer()] }))),
  )
})

describe("A message that is too big for the upstream", () => {
  for (const limit of [1000, 4096, 10_000, 65_535, 65_536, 1_000_000]) {
    it.effect(`goes up in vain once, where more than ${limit} bytes are closed with 1009`, () =>
      Effect.gen(function* () {
        const { heard } = yield* PlainUpstream
        const uploads = () => heard.filter(({ method }) => method === "WS").length
        const ask = (length: number) =>
          Effect.map(post({ input: "x".repeat(length) }), ({ headers }) => headers.get("x-respool-transport"))
        for (let count = 0; count < 3; count++) assert.strictEqual(yield* ask(limit + count), "http")
        assert.strictEqual(uploads(), 1)
        assert.strictEqual(yield* ask(limit / 2), "websocket")
        assert.strictEqual(uploads(), 2)
      }).pipe(
        Effect.provide(
          PlainUpstream.layerProxied({
            frames: () => [emptyAnswer()],
            ends: (message) => ((message ?? "").length > limit ? 1009 : undefined),
            http: () => new Response(emptyResponse()),
          }),
        ),
      ),
    )
  }
})
