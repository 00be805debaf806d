/**
 * Reads the frames that a proxy of a test sends its page.
 */
import { Effect, Stream } from "effect"
import type { Frame } from "../../src/observe/live/Frame.ts"
import { open } from "./Ask.ts"
import { TestProxy } from "./TestProxy.ts"

/** The first frames of a stream; `each` runs before the next one is waited for. */
export const frames = Effect.fnUntraced(function* (
  count: number,
  { each = Effect.void, query = "" }: { readonly each?: Effect.Effect<unknown>; readonly query?: string } = {},
) {
  const { url } = yield* TestProxy
  const { body } = yield* open(`${new URL(url).origin}/_respool/events${query}`)
  if (body === null) throw new Error("no frames")
  return yield* Stream.fromReadableStream({ evaluate: () => body, onError: (cause) => new Error(String(cause)) }).pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter((line) => line.startsWith("data: ")),
    Stream.map((line) => JSON.parse(line.slice(6)) as Frame),
    Stream.tap(() => each),
    Stream.take(count),
    Stream.runCollect,
    Effect.orDie,
  )
})

/** What the page is shown at first. */
export const frame = (query = "") => Effect.map(frames(1, { query }), ([one]) => one as Frame)
