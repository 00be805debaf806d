/**
 * One turn over HTTP, without a proxy around it, against an upstream whose bytes are the test's own.
 */
import { Context, Deferred, Effect, Fiber, Layer, Stream } from "effect"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { Settings } from "../../src/config/Settings.ts"
import type { TurnRequest } from "../../src/turn/Executor.ts"
import { HttpExecutor } from "../../src/upstream/http/HttpExecutor.ts"
import { Credentials } from "../../src/upstream/credential/Credentials.ts"
import * as Forwarding from "../../src/upstream/http/Forwarding.ts"
import { HttpUpstream } from "../../src/upstream/http/HttpUpstream.ts"
import { Routing } from "../../src/upstream/route/Routing.ts"
import { Upstreams } from "../../src/upstream/route/Upstreams.ts"
import { turnOf } from "./TurnRequests.ts"
import type { Line } from "./RawUpstream.ts"
import { chunk, head, rawUpstream } from "./RawUpstream.ts"
import { round } from "./EventLoop.ts"
import { RecordedTurn, failureOf } from "./RecordedTurn.ts"

export const MiB = 1024 * 1024

export const turn = (stream: boolean): TurnRequest => turnOf({ input: [], stream }, { stream })

const defaults = { firstEventTimeout: 20_000, eventTimeout: 30_000, turnTimeout: 100_000, clientTimeout: 5_000 }

/** The real thing, and `came` hears of every part of a body that was read. */
const watchedBy = (came: () => void) =>
  Layer.effect(
    HttpUpstream,
    Effect.map(HttpUpstream, ({ send }) =>
      HttpUpstream.of({
        send: (to, request) =>
          Effect.map(send(to, request), (answer) => ({
            ...answer,
            body: Stream.tap(answer.body, () => Effect.sync(came)),
          })),
      }),
    ),
  ).pipe(Layer.provide(HttpUpstream.layer))

export const executing = (port: number, more: Partial<SettingsValues> = {}, came = () => {}) =>
  HttpExecutor.layerNoDeps.pipe(
    Layer.merge(Forwarding.layerNoDeps),
    Layer.provideMerge(watchedBy(came)),
    Layer.provide(Routing.layerNoDeps),
    Layer.provide([Upstreams.layerNoDeps, Credentials.layerFixed]),
    Layer.provide(Settings.layer({ upstreamUrl: `http://127.0.0.1:${port}/v1`, ...defaults, ...more })),
  )

interface Setup {
  readonly stream?: boolean
  readonly sink?: RecordedTurn
  readonly settings?: Partial<SettingsValues>
}

/** Runs a turn against an upstream that does what `says` does to every request. */
export const against = Effect.fnUntraced(function* (
  says: (line: Line) => void,
  { settings, sink = new RecordedTurn(), stream }: Setup = {},
) {
  const asked = yield* Deferred.make<Line>()
  const upstream = yield* rawUpstream((line) => {
    Deferred.doneUnsafe(asked, Effect.succeed(line))
    says(line)
  })
  const came = yield* Deferred.make<void>()
  const layer = executing(upstream.port, settings, () => Deferred.doneUnsafe(came, Effect.void))
  const { execute } = Context.get(yield* Layer.build(layer), HttpExecutor)
  const fiber = yield* Effect.forkChild(execute(turn(stream ?? true), sink))
  const failed = Effect.map(Fiber.await(fiber), failureOf)
  return { upstream, sink, fiber, failed, line: Deferred.await(asked), came: Deferred.await(came), execute }
})

export const sse = head(200, "content-type: text/event-stream", "transfer-encoding: chunked")
export const created = `data: {"type":"response.created","response":{"id":"resp_1"}}\n\n`
export const delta = `data: {"type":"response.output_text.delta","delta":"a"}\n\n`
export const completed = `data: {"type":"response.completed","response":{"id":"resp_1","output":[]}}\n\n`
export const broken = `data: {"type":"error","code":"server_error","message":"It broke."}\n\n`
export const refused = `data: {"type":"error","code":"rate_limit_exceeded","message":"Slow down."}\n\n`

/** Endless pieces of a body. */
export const endless = (content: string | Uint8Array) => {
  const piece = chunk(content)
  return () => piece
}

/** Lets everything happen that can, until nothing has for a while. */
export const settled = (figure: () => number) =>
  Effect.gen(function* () {
    let last = figure()
    for (let quiet = 0; quiet < 300; quiet++) {
      yield* round
      if (figure() !== last) quiet = 0
      last = figure()
    }
  })
