/**
 * Stands between a client and the proxy, passes everything on, and remembers what the client asked and was told.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"

export interface Exchange {
  /** The request's body, as the client wrote it. */
  readonly asked: string
  /** The answer's body, whole, once the exchange is over. */
  told: string
}

/** `base` is the proxy's base URL. Lives as long as the scope. */
export const overhear = Effect.fnUntraced(function* (base: string) {
  const exchanges: Array<Exchange> = []
  const { origin } = new URL(base)
  const pass = async (request: Request): Promise<Response> => {
    const { pathname, search } = new URL(request.url)
    const asked = await request.text()
    const headers = new Headers(request.headers)
    for (const name of ["connection", "content-length", "host", "accept-encoding"]) headers.delete(name)
    const exchange: Exchange = { asked, told: "" }
    if (pathname.endsWith("/responses")) exchanges.push(exchange)
    const body = asked === "" ? {} : { body: asked }
    const answer = await fetch(`${origin}${pathname}${search}`, { method: request.method, headers, ...body })
    const decoder = new TextDecoder()
    const told = answer.body?.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform: (piece, controller) => {
          exchange.told += decoder.decode(piece, { stream: true })
          controller.enqueue(piece)
        },
      }),
    )
    return new Response(told ?? null, { status: answer.status, headers: answer.headers })
  }
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 0, fetch: pass })),
    (server) => Effect.promise(() => server.stop(true)),
  )
  return { url: `http://127.0.0.1:${server.port}/v1`, exchanges }
})

type Json = { readonly [name: string]: unknown }

const parsed = (text: string): Json | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null ? (value as Json) : undefined
  } catch {
    return undefined
  }
}

/** Each response object of an answer, streamed or not, with the type of its event. */
const responsesIn = (told: string): ReadonlyArray<readonly [type: string, response: Json]> => {
  const whole = parsed(told)
  if (whole !== undefined) return [["", whole]]
  return told.split("\n").flatMap((line): ReadonlyArray<readonly [string, Json]> => {
    const event = line.startsWith("data: ") ? parsed(line.slice("data: ".length)) : undefined
    const response = event?.["response"]
    return typeof response === "object" && response !== null ? [[String(event?.["type"]), response as Json]] : []
  })
}

/** Asserts that every response object shows the `previous_response_id` of its own request: none, or what the client sent. */
export const assertOwnAnchors = (exchanges: ReadonlyArray<Exchange>) => {
  for (const [index, { asked, told }] of exchanges.entries()) {
    const own = parsed(asked)?.["previous_response_id"] ?? null
    const responses = responsesIn(told)
    assert.isAbove(responses.length, 0, `turn ${index}: ${told}`)
    for (const [type, response] of responses) {
      assert.strictEqual(response["previous_response_id"], own, `turn ${index}, ${type}`)
    }
  }
}
