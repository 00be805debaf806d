/**
 * A real Prometheus, Debian's, that scrapes a proxy of a test every half second.
 */
import { Clock, Effect, FileSystem } from "effect"
import { TestClock } from "effect/testing"
import { createServer } from "node:net"
import { round, unlessItHangs } from "./EventLoop.ts"

/** Undefined: it is not installed (`apt-get install prometheus`). */
export const prometheus = Bun.which("prometheus") ?? undefined

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

interface Answer {
  readonly status: string
  readonly error?: string
  readonly data?: {
    readonly result: ReadonlyArray<{
      readonly metric: Readonly<Record<string, string>>
      readonly value: [number, string]
    }>
  }
}

/** Scrapes `host`, with a Bearer token where there is one, for as long as the scope. */
export const makePrometheus = Effect.fnUntraced(function* (host: string, token?: string) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-prometheus-" })
  const port = yield* freePort
  const auth = token === undefined ? "" : `\n    authorization: { credentials: ${JSON.stringify(token)} }`
  yield* fs.writeFileString(
    `${folder}/prometheus.yml`,
    `global: { scrape_interval: 500ms, scrape_timeout: 500ms }
scrape_configs:
  - job_name: respool${auth}
    static_configs: [{ targets: [${JSON.stringify(host)}] }]
`,
  )
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn(
        [
          prometheus ?? "prometheus",
          `--config.file=${folder}/prometheus.yml`,
          `--storage.tsdb.path=${folder}/data`,
          `--web.listen-address=127.0.0.1:${port}`,
        ],
        { stdout: "ignore", stderr: "pipe" },
      ),
    ),
    (child) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return child.exited
      }),
  )
  const ask = (query: string) =>
    Effect.promise(async () => {
      const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`
      const answer = await fetch(url).then(
        // While it starts it answers 503, in words.
        async (response) => (response.status === 503 ? undefined : ((await response.json()) as Answer)),
        () => undefined,
      )
      if (answer === undefined && child.exitCode !== null) throw new Error(await new Response(child.stderr).text())
      if (answer?.status === "error") throw new Error(`${query}: ${answer.error}`)
      return answer?.data?.result ?? []
    })
  /** The values of a query, by what their labels say. */
  const query = (query: string) =>
    Effect.map(ask(query), (result) =>
      Object.fromEntries(result.map(({ metric, value }) => [Object.values(metric).sort().join(" "), Number(value[1])])),
    )
  /** Waits for a scrape that was begun after this. */
  const scraped = Effect.flatMap(TestClock.withLive(Clock.currentTimeMillis), (millis) => {
    const now = millis / 1000
    const last = Effect.map(ask('timestamp(up{job="respool"})'), ([one]) => Number(one?.value[1] ?? 0))
    return unlessItHangs(
      Effect.andThen(round, last).pipe(Effect.repeat({ until: (at) => at > now })),
      () => "Prometheus' next scrape",
    )
  })
  return { port, query, scraped }
})
