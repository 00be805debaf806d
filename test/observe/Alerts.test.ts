/**
 * What docs/deploy gives to Prometheus and Grafana, with Debian's Prometheus.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Metric } from "effect"
import { createServer } from "node:net"
import dashboard from "../../docs/deploy/respool-dashboard.json" with { type: "json" }
import { metricRows } from "../../src/observe/MetricRows.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { outputOf } from "../support/Ask.ts"
import { post } from "../support/AskProxy.ts"
import { anchorOf, headings } from "../documents/Markdown.ts"
import { read, root } from "../documents/Pages.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { run } from "../support/Child.ts"
import { eventually } from "../support/EventLoop.ts"
import { user } from "../support/Items.ts"
import { TestProxy } from "../support/TestProxy.ts"

const promtool = Bun.which("promtool") ?? undefined
const prometheus = Bun.which("prometheus") ?? undefined
const why =
  promtool === undefined || prometheus === undefined
    ? "for Prometheus is not installed (apt-get install prometheus)"
    : leftOut(import.meta.url, "it starts a Prometheus")

/** The page that says what each alert means. */
const guide = `docs/${"observe"}.md`

const alerts = read("docs/deploy/respool-alerts.yaml")
const tests = read("docs/deploy/respool-alerts.test.yaml")

const named = [...alerts.matchAll(/- alert: (\w+)/g)].map(([, name = ""]) => name)

const queries = dashboard.panels.flatMap(({ targets = [] }: { readonly targets?: ReadonlyArray<{ expr: string }> }) =>
  targets.map(({ expr }) => expr),
)

/** The metrics that a text names, without what a histogram's are called. */
const metricsIn = (text: string) =>
  [...text.matchAll(/\b(respool|process)_\w+/g)].map(([name]) => name.replace(/_(bucket|count|sum)$/, ""))

describe("The alert rules", () => {
  it("name metrics that there are, and each is explained and tested, where it fires and where it does not", () => {
    assert.isAtLeast(named.length, 8)
    const known = new Set(Object.keys(metricRows))
    const rules = alerts.replaceAll(/respool-alerts|job name|#.*$/gm, "")
    for (const name of metricsIn(rules)) assert.isTrue(known.has(name), name)
    const anchors = headings(read(guide)).map(anchorOf)
    for (const name of named) {
      assert.include(anchors, name.toLowerCase())
      assert.include(alerts, `runbook_url: ${guide}#${name.toLowerCase()}`)
      assert.match(tests, new RegExp(`- \\{ alertname: ${name}, eval_time: \\w+ \\}`), `${name} stays quiet`)
      assert.match(
        tests,
        new RegExp(`- alertname: ${name}\\n +eval_time: \\w+\\n +exp_alerts:\\n +- `),
        `${name} fires`,
      )
    }
  })

  it.effect.skipIf(why !== undefined)(`pass promtool's check and their own tests${saying(why)}`, () =>
    Effect.gen(function* () {
      const folder = `${root}docs/deploy`
      for (const args of [
        ["check", "rules", "respool-alerts.yaml"],
        ["test", "rules", "respool-alerts.test.yaml"],
      ]) {
        const { code, stderr, stdout } = yield* run(["promtool", ...args], { cwd: folder, env: process.env })
        assert.strictEqual(code, 0, `${stdout}${stderr}`)
        assert.include(stdout, "SUCCESS")
      }
    }),
  )
})

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** A Prometheus that scrapes the proxy all the time; the answer asks it for how many series a query gives. */
const scraping = Effect.fnUntraced(function* (target: string) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-dashboard-" })
  const port = yield* freePort
  yield* fs.writeFileString(
    `${folder}/prometheus.yml`,
    `global: { scrape_interval: 250ms, scrape_timeout: 250ms }
scrape_configs: [{ job_name: respool, static_configs: [{ targets: ["${target}"] }] }]
rule_files: [${root}docs/deploy/respool-alerts.yaml]
`,
  )
  const flags = [
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]
  yield* Effect.acquireRelease(
    Effect.sync(() => Bun.spawn([prometheus ?? "prometheus", ...flags], { stdout: "ignore", stderr: "ignore" })),
    (child) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return child.exited
      }),
  )
  return (query: string) =>
    Effect.promise(async () => {
      const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`
      const text = await fetch(url).then(
        (answer) => answer.text(),
        () => "",
      )
      // While it starts it says so in words.
      if (!text.startsWith("{")) return 0
      const { data, error } = JSON.parse(text) as { data?: { result: ReadonlyArray<unknown> }; error?: string }
      if (error !== undefined) throw new Error(`${query}: ${error}`)
      return data?.result.length ?? 0
    })
})

describe("The dashboard", () => {
  it("names metrics that there are, and each of them but those of its own process is on it", () => {
    assert.isAtLeast(queries.length, 20)
    const shown = new Set(queries.flatMap(metricsIn))
    const known = Object.keys(metricRows)
    for (const name of shown) assert.include(known, name)
    assert.sameMembers(
      known.filter((name) => !shown.has(name)),
      ["respool_lease_seconds", "process_start_time_seconds"],
    )
  })

  it.effect.skipIf(why !== undefined)(`has data in every panel once there were turns${saying(why)}`, () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const proxy = yield* TestProxy
      const { url } = proxy
      const series = yield* scraping(new URL(url).host)
      let up = 0
      yield* eventually(
        () => up > 0,
        () => "the first scrape",
        Effect.map(series('up{job="respool"} == 1'), (found) => (up = found)),
      )
      // Something of everything, while it is scraped: a first turn, one that goes on, a retry and an error.
      const turns = Effect.gen(function* () {
        const first = yield* post({ input: [user("One")] })
        yield* post({ input: [user("One"), ...outputOf(first), user("Two")] })
        yield* simulator.failNext({ _tag: "Close", at: 0, code: 1011 })
        yield* post({ input: [user("Other")] })
        yield* simulator.failNext({ _tag: "Error", at: 0, status: 400, code: "bad_thing", message: "No." })
        yield* post({ input: [user("Third")] })
      })
      const missing = new Set(
        queries.map((query) => query.replaceAll("$job", "respool").replaceAll(/\$__(rate_interval|range)/g, "1m")),
      )
      yield* eventually(
        () => missing.size === 0,
        () => [...missing].join("\n"),
        Effect.andThen(
          Effect.provideService(turns, TestProxy, proxy),
          Effect.forEach([...missing], (query) =>
            Effect.map(series(query), (found) => (found > 0 ? missing.delete(query) : false)),
          ),
        ),
      )
    }).pipe(
      Effect.scoped,
      Effect.provide([NodeFileSystem.layer, TestProxy.layerBrief()]),
      Effect.provideService(Metric.MetricRegistry, new Map()),
    ),
  )
})
