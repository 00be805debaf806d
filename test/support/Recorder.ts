/**
 * An upstream that answers everything and remembers what arrived: for proofs that something did not arrive.
 */
import { Effect } from "effect"
import { saidTo } from "./Talker.ts"
import { serve } from "./Serve.ts"

export interface Recorded {
  readonly method: string
  /** Path and query as received. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** HTTP only. `answer` is the JSON text of every answer. Lives as long as the scope. */
export const makeRecorder = Effect.fnUntraced(function* (answer: (request: Recorded) => string) {
  const requests: Array<Recorded> = []
  const { port } = yield* serve(async (request) => {
    const { pathname, search } = new URL(request.url)
    const recorded: Recorded = {
      method: request.method,
      path: `${pathname}${search}`,
      headers: Object.fromEntries(request.headers),
      body: await request.text(),
    }
    requests.push(recorded)
    return new Response(answer(recorded), { headers: { "content-type": "application/json" } })
  })
  return { url: `http://127.0.0.1:${port}/v1`, requests }
})

/** A request whose target is sent exactly as given, which no URL of the platform's would leave alone. */
export const askRaw = (base: string, method: string, target: string, key: string) =>
  Effect.gen(function* () {
    const { host } = new URL(base)
    const length = method === "POST" ? "content-length: 0\r\n" : ""
    const head = `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${key}\r\n${length}`
    const text = yield* saidTo(base, `${head}connection: close\r\n\r\n`)
    return { status: Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]), text }
  })
