/**
 * How long one large body holds up everything else: the longest time for which the proxy's event loop sees to nothing
 * else, by the CPU time of its thread, so that it can be told on a machine that does other things as well.
 */
import { Effect, FileSystem } from "effect"
import { BenchError } from "../harness/Child.ts"
import { startUpstream } from "../harness/Processes.ts"
import type { Entry, Figures, Scenario } from "../harness/Scenario.ts"
import { available, rounds } from "../harness/Scenario.ts"
import { startTarget } from "../harness/Targets.ts"

const MiB = 1 << 20

const listed = (one: string, bytes: number) => {
  const count = Math.max(1, Math.floor(bytes / (one.length + 1)))
  return `${`${one},`.repeat(count - 1)}${one}`
}

const call = (args: string) => `{"type":"function_call","call_id":"c","name":"f","arguments":"${args}"}`
const said = (text: string) => `{"role":"user","content":"${text}"}`
const inputOf = (items: string) => `{"model":"m","stream":false,"input":[${items}]}`
const named = (count: number) => Array.from({ length: count }, (_, index) => `"\\u0061${index}":1`).join()

/** Each of at most so many bytes. */
const bodies: ReadonlyArray<readonly [name: string, body: (bytes: number) => string]> = [
  ["text", (bytes) => inputOf(said("hello world. ".repeat(bytes / 13)))],
  ["text of other scripts", (bytes) => inputOf(said("\u6f22\u00e9".repeat(bytes / 5)))],
  ["escaped text", (bytes) => inputOf(said("\\u0041".repeat(bytes / 6)))],
  ["half pairs", (bytes) => inputOf(listed(call("\\ud800".repeat(Math.min(bytes, MiB) / 6)), bytes))],
  ["numbers", (bytes) => inputOf(listed(call(`[${listed("1.0", Math.min(bytes, MiB))}]`), bytes))],
  ["items", (bytes) => inputOf(listed("{}", Math.min(bytes, 65_500 * 3)))],
  ["messages", (bytes) => inputOf(listed(said("hi"), Math.min(bytes, 65_500 * 31)))],
  ["names", (bytes) => inputOf(`{"type":"x","of":{${named(Math.floor(bytes / 160))}}}`)],
  ["a member that decides", (bytes) => `{"model":"m","input":"x","prompt":[${listed('{"a":1}', bytes / 5)}]}`],
  ["a name", (bytes) => `{"model":"m","input":"x","${"\\u0061".repeat(bytes / 6)}":1}`],
  ["white space", (bytes) => `{"model":"m","input":[1${" ".repeat(bytes)}]}`],
]

export const bodiesScenario: Scenario = {
  name: "bodies",
  run: Effect.fnUntraced(function* (settings) {
    const fs = yield* FileSystem.FileSystem
    const bytes = { full: 62 * MiB, quick: 16 * MiB, smoke: MiB }[settings.size]
    const upstream = yield* startUpstream
    const heart = yield* Effect.orDie(fs.makeTempFileScoped({ prefix: "bench-heart-" }))
    const { url } = yield* startTarget("respool", upstream.url, { ...settings, heart })
    const ask = (body: string) =>
      Effect.tryPromise({
        try: async () => {
          const headers = { "content-type": "application/json", authorization: "Bearer test-key-bench" }
          const answer = await fetch(`${url}/v1/responses`, { method: "POST", headers, body })
          await answer.arrayBuffer()
        },
        catch: (cause) => new BenchError({ message: String(cause) }),
      })
    const small = inputOf(said("hi"))
    for (let turn = 0; turn < (settings.size === "smoke" ? 2 : 100); turn++) yield* ask(small)
    const measure = (body: string) =>
      Effect.gen(function* () {
        // The line of the second before, which another body may have had a part in.
        yield* Effect.sleep("1100 millis")
        const before = (yield* Effect.orDie(fs.readFileString(heart))).length
        const began = performance.now()
        yield* ask(body)
        const took = performance.now() - began
        yield* Effect.sleep("1100 millis")
        const lines = (yield* Effect.orDie(fs.readFileString(heart))).slice(before).split("\n").filter(Boolean)
        return {
          "held ms": Math.max(0, ...lines.map(Number)),
          "took ms": took,
          MiB: body.length / MiB,
        } satisfies Figures
      })
    const { skipped, targets } = yield* available(["respool"], settings)
    const entries = targets.flatMap((target) =>
      bodies.map(([variant, body]): Entry => ({
        target,
        variant,
        measure: Effect.suspend(() => measure(body(bytes))),
      })),
    )
    const about = `one body of up to ${bytes / MiB} MiB; held: the longest time in which nothing else went on, as CPU time of the proxy's thread`
    return yield* rounds(entries, { scenario: "bodies", about, skipped }, settings, { warmUp: false })
  }),
}
