import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Metric, Redacted } from "effect"
import { readFileSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { agent } from "../../../src/simulator/Script.ts"
import { bytes, count, percent } from "../../../src/observe/live/Format.ts"
import { ask, outputOf } from "../../support/Ask.ts"
import { post } from "../../support/AskProxy.ts"
import { leftOut, saying } from "../../support/ByName.ts"
import { chromium, makeBrowser } from "../../support/Chromium.ts"
import { scraped, sum } from "../../support/Exposition.ts"
import { user } from "../../support/Items.ts"
import type { Tab } from "../../support/Tab.ts"
import { openTab } from "../../support/Tab.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const why =
  chromium === undefined
    ? "for Chromium is not installed (apt-get install chromium)"
    : leftOut(import.meta.url, "it starts a browser")

/** The audit, as it runs in a page; undefined: it is not installed. */
const audit = (() => {
  try {
    return readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")
  } catch {
    return undefined
  }
})()

/** Its start takes longer than all that these tests do in it. */
class Browser extends Context.Service<Browser, Effect.Success<ReturnType<typeof makeBrowser>>>()("test/Browser") {
  static readonly layer = Layer.effect(Browser, makeBrowser(["attacker.test"]))
}

const tabAt = Effect.fnUntraced(function* (url: string) {
  const tab = yield* openTab((yield* Browser).control)
  yield* tab.go(url)
  return tab
})

const origin = Effect.map(TestProxy, ({ url }) => new URL(url).origin)

/** What the page shows under a name. */
const figure = (tab: Tab, name: string) =>
  tab.evaluate<string>(`document.querySelector('[data-key="${name.replaceAll(" ", "-")}"]').textContent`)

const isShown = (name: string, value: string) =>
  `document.querySelector('[data-key="${name.replaceAll(" ", "-")}"]')?.textContent === ${JSON.stringify(value)}`

interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: ReadonlyArray<{ readonly html: string; readonly failureSummary: string }>
}

/** Whatever is serious or critical. */
const serious = (tab: Tab, source: string) =>
  Effect.andThen(
    tab.evaluate(`${source}; undefined`),
    Effect.map(
      tab.evaluate<ReadonlyArray<Violation>>("axe.run(document).then(({ violations }) => violations)"),
      (violations) =>
        violations
          .filter(({ impact }) => impact === "serious" || impact === "critical")
          .map(({ id, nodes }) => `${id}: ${nodes.map(({ failureSummary, html }) => `${html} ${failureSummary}`)}`),
    ),
  )

/** A first turn, three that go on, an edited one and one that is refused. */
const turns = Effect.gen(function* () {
  const simulator = yield* Simulator
  const session = (id: string) => ({ headers: { "session-id": "tidy-up", "x-request-id": id } })
  let input: ReadonlyArray<ReturnType<typeof user> | ReturnType<typeof outputOf>[number]> = []
  for (const id of ["one", "two", "three", "four"]) {
    input = [...input, user(id)]
    input = [...input, ...outputOf(yield* post({ input: [...input] }, session(id)))]
  }
  yield* post({ input: [user("edited"), ...input.slice(1), user("five")] }, session("five"))
  yield* simulator.failNext({ _tag: "Error", at: 0, status: 400, code: "bad_thing", message: "No." })
  yield* post({ input: [user("six")] }, { headers: { "x-request-id": "six" } })
})

/** Where whoever wants to see the pages has them written. */
const { RESPOOL_TEST_SCREENSHOTS: folder } = process.env

const layer = (settings: Parameters<typeof TestProxy.layer>[0] = {}) =>
  TestProxy.layer({ ...settings, simulator: { script: agent({ rounds: 0 }) } })

describe.skipIf(why !== undefined)(`The page in a real browser${saying(why)}`, () => {
  it.layer(Browser.layer, { excludeTestServices: true })((it) => {
    it.effect("shows the figures that the metrics show, the turns, and why one went as it did", () =>
      Effect.gen(function* () {
        yield* turns
        const base = yield* origin
        const tab = yield* tabAt(`${base}/_respool/`)
        yield* tab.until(isShown("Turns", "6"))
        const all = yield* scraped
        const metric = (name: string, labels: Readonly<Record<string, string>> = {}) =>
          sum(all, `respool_${name}`, labels)
        const [clients, upstream] = [metric("client_input_bytes_total"), metric("upstream_input_bytes_total")]
        const expected: Readonly<Record<string, string>> = {
          Turns: count(metric("turns_total")),
          "As a suffix": percent(metric("turns_total", { input: "suffix" }), metric("turns_total")),
          Fallbacks: "0",
          "Input of clients": bytes(clients),
          "Sent upstream": bytes(upstream),
          Saved: bytes(clients - upstream),
          "Input tokens": count(metric("tokens_total", { kind: "input" })),
          Cached: percent(metric("tokens_total", { kind: "cached" }), metric("tokens_total", { kind: "input" })),
          Evictions: count(metric("evictions_total")),
          Connections: `${metric("connections")} of 1,024`,
          Idle: count(metric("connections", { state: "idle" })),
        }
        for (const [name, value] of Object.entries(expected)) {
          assert.strictEqual(yield* figure(tab, name), value, name)
        }
        const requests = yield* tab.evaluate<ReadonlyArray<string>>(
          `[...document.querySelectorAll("#feed tbody button")].map((one) => one.textContent)`,
        )
        assert.deepStrictEqual(requests, ["six", "five", "four", "three", "two", "one"])
        // A turn that comes while the page is looked at is told to it.
        yield* post({ input: [user("seven")] }, { headers: { "x-request-id": "<img/src=x/onerror=alert(1)>" } })
        yield* tab.until(isShown("Turns", "7"))
        assert.strictEqual(
          yield* tab.evaluate(`document.querySelector("#feed tbody button").textContent`),
          "<img/src=x/onerror=alert(1)>",
        )
        yield* tab.evaluate(`[...document.querySelectorAll("#feed tbody button")][2].click()`)
        const facts = yield* tab.evaluate<string>(`document.querySelector("dialog[open] dl").innerText`)
        assert.match(facts, /history_changed: the conversation is remembered with another history/)
        assert.match(facts, /input\[0\] \(user_message\) is the first item that differs/)
        yield* tab.evaluate(`document.querySelector("dialog").close()`)
        const secrets = yield* tab.evaluate<string>(`document.documentElement.outerHTML`)
        assert.notInclude(secrets, "test-key-a")
        // All that it asked for is of its own origin, and nothing was refused or failed.
        assert.isAbove(tab.requests.length, 1)
        for (const url of tab.requests) assert.strictEqual(new URL(url).origin, base, url)
        assert.deepStrictEqual(tab.complaints, [])
      }).pipe(Effect.scoped, Effect.provide(layer()), Effect.provideService(Metric.MetricRegistry, new Map())),
    )

    it.effect.skipIf(audit === undefined)(
      `is fit for a keyboard and a screen reader, light, dark and narrow${audit === undefined ? " (skipped: axe-core is not installed)" : ""}`,
      () =>
        Effect.gen(function* () {
          yield* turns
          const tab = yield* tabAt(`${yield* origin}/_respool/`)
          yield* tab.until(isShown("Turns", "6"))
          yield* tab.evaluate(`document.querySelectorAll("details").forEach((one) => (one.open = true))`)
          const looks = { light: {}, dark: { scheme: "dark" }, narrow: { width: 360 } } as const
          for (const [name, look] of Object.entries(looks)) {
            yield* tab.looks(look)
            assert.deepStrictEqual(yield* serious(tab, audit ?? ""), [], name)
            const png = yield* tab.screenshot
            assert.isAbove(png.length, 10_000, name)
            if (folder !== undefined) writeFileSync(`${folder}/page-${name}.png`, png)
          }
          // On a narrow screen only tables are wider than it, and those scroll by themselves.
          assert.strictEqual(yield* tab.evaluate("document.documentElement.scrollWidth"), 360)
          yield* tab.looks({})
          const reached: Array<string> = []
          yield* tab.evaluate("document.body.focus()")
          while (reached.length < 40 && reached.at(-1) !== "six") {
            yield* tab.press("Tab")
            reached.push(
              yield* tab.evaluate<string>(
                "document.activeElement.id || document.activeElement.getAttribute('aria-label') || document.activeElement.textContent",
              ),
            )
          }
          assert.includeMembers(reached, ["Skip to the turns", "pause", "Turns under way", "turns", "six"])
          yield* tab.press("Enter")
          yield* tab.until(`document.querySelector("dialog[open]") !== null`)
          assert.deepStrictEqual(yield* serious(tab, audit ?? ""), [], "why")
          yield* tab.press("Escape")
          yield* tab.until(`document.querySelector("dialog[open]") === null`)
          assert.strictEqual(yield* tab.evaluate("document.activeElement.textContent"), "six")
        }).pipe(Effect.scoped, Effect.provide(layer())),
    )

    it.effect("asks for the operator's token where there is one, and keeps a cookie that no script reads", () =>
      Effect.gen(function* () {
        const base = yield* origin
        const tab = yield* tabAt(`${base}/_respool/`)
        const submit = (token: string) =>
          tab.evaluate(
            `document.querySelector("#token").value = ${JSON.stringify(token)}; document.querySelector("form").submit()`,
          )
        assert.strictEqual(yield* tab.evaluate("document.querySelector('label').textContent"), "Operator token")
        if (audit !== undefined) assert.deepStrictEqual(yield* serious(tab, audit), [])
        yield* tab.loaded(submit("another"))
        assert.strictEqual(
          yield* tab.evaluate(`document.querySelector("#problem").textContent`),
          "That is not the token.",
        )
        yield* tab.loaded(submit("operator-token"))
        yield* tab.until(isShown("Turns", "0"))
        assert.strictEqual(yield* tab.evaluate("document.cookie"), "")
        const body = "token=operator-token"
        const form = { "content-type": "application/x-www-form-urlencoded" }
        const signedIn = yield* ask(`${base}/_respool/sign-in`, { method: "POST", body, headers: form })
        assert.deepStrictEqual([signedIn.status, signedIn.headers.get("location")], [303, "/_respool/"])
        const cookie = signedIn.headers.get("set-cookie") ?? ""
        assert.match(cookie, /^respool_operator=[\w-]{43}; Path=\/_respool; HttpOnly; SameSite=Strict$/)
        const [pair = ""] = cookie.split(";")
        const status = (headers: Readonly<Record<string, string>>, path = "/_respool/turns") =>
          Effect.map(ask(`${base}${path}`, { headers }), ({ status }) => status)
        assert.strictEqual(yield* status({ cookie: pair }), 200)
        assert.strictEqual(yield* status({ cookie: `${pair}x` }), 404)
        assert.strictEqual(yield* status({ cookie: pair }, "/metrics"), 404)
        assert.strictEqual(yield* status({ cookie: pair, origin: "http://attacker.test" }), 404)
        assert.strictEqual(yield* status({ cookie: pair, "sec-fetch-site": "cross-site" }), 404)
        assert.strictEqual(yield* status({ cookie: pair, host: "attacker.test" }), 404)
        const secure = yield* ask(`${base}/_respool/sign-in`, {
          method: "POST",
          body,
          headers: { ...form, "x-forwarded-proto": "https" },
        })
        assert.match(secure.headers.get("set-cookie") ?? "", /; Secure/)
        for (const headers of [{ origin: "http://attacker.test" }, { host: "attacker.test" }]) {
          const foreign = yield* ask(`${base}/_respool/sign-in`, {
            method: "POST",
            body,
            headers: { ...form, ...headers },
          })
          assert.deepStrictEqual([foreign.status, foreign.headers.get("set-cookie")], [404, null])
          assert.strictEqual((yield* ask(`${base}/_respool/`, { headers })).status, 404)
        }
        const large = yield* ask(`${base}/_respool/sign-in`, {
          method: "POST",
          body: `token=${"x".repeat(5000)}`,
          headers: form,
        })
        assert.strictEqual(large.status, 413)
      }).pipe(Effect.scoped, Effect.provide(layer({ settings: { operatorToken: Redacted.make("operator-token") } }))),
    )

    it.effect("is not there under a name that somebody made lead here, nor for a page of another origin", () =>
      Effect.gen(function* () {
        const { port } = new URL(yield* origin)
        const rebound = yield* tabAt(`http://attacker.test:${port}/_respool/`)
        assert.include(yield* rebound.evaluate("document.body.innerText"), "unknown_url")
        const read = yield* rebound.evaluate(
          `fetch("http://127.0.0.1:${port}/_respool/").then((answer) => answer.text(), () => "blocked")`,
        )
        assert.strictEqual(read, "blocked")
        const framed = yield* rebound.evaluate(`new Promise((resolve) => {
          const frame = document.createElement("iframe")
          frame.onload = () => resolve("loaded")
          frame.src = "http://127.0.0.1:${port}/_respool/"
          document.body.append(frame)
        })`)
        assert.strictEqual(framed, "loaded")
        assert.include(rebound.complaints.join("\n"), "404")
      }).pipe(Effect.scoped, Effect.provide(layer())),
    )
  })
})
