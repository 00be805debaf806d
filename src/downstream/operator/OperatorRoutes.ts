/**
 * What an operator may look at, for a proxy that has its port alone: the metrics at `/metrics`, and below `/_respool/` a
 * page of what goes on, its stream of frames, and the turns of a request.
 */
import type { FileSystem } from "effect"
import { Effect, Layer, Option, Schedule, Stream } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { Settings } from "../../config/Settings.ts"
import type { View } from "../../observe/live/Frame.ts"
import { Overview } from "../../observe/live/Overview.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import { ApiError } from "../ApiError.ts"
import { Draining } from "../http/Listener.ts"
import { paced } from "../http/Paced.ts"
import * as OperatorAccess from "./OperatorAccess.ts"
import { pageRoutes } from "./PageRoutes.ts"
import { notKept, toOperators } from "./OperatorAnswer.ts"

type Request = HttpServerRequest.HttpServerRequest

/** So many pages and terminals may look at a time. */
const mostReaders = 16

const searchOf = ({ url }: Request) => new URL(url, "http://localhost").searchParams

const viewOf = (request: Request): View => {
  const search = searchOf(request)
  const from = Number(search.get("from") ?? 0)
  return {
    from: Number.isSafeInteger(from) && from >= 0 ? from : 0,
    state: search.get("state") ?? undefined,
  }
}

const make = Effect.gen(function* () {
  const { clientTimeout } = yield* Settings
  const access = yield* OperatorAccess.make
  const overview = yield* Overview
  const draining = Option.match(yield* Effect.serviceOption(Draining), {
    onNone: () => Effect.never,
    onSome: ({ begun }) => begun,
  })
  const context = yield* Effect.context<FileSystem.FileSystem>()
  let readers = 0

  const metrics = toOperators(access.mayLook, () =>
    Effect.sync(() =>
      HttpServerResponse.text(PrometheusMetrics.formatUnsafe(context), {
        contentType: "text/plain; version=0.0.4; charset=utf-8",
        headers: notKept,
      }),
    ),
  )

  const turns = toOperators(access.mayLookAtPage, (request) =>
    Effect.map(monotonicMillis, (now) =>
      HttpServerResponse.jsonUnsafe(
        { now, turns: overview.turnsOf(searchOf(request).get("request") ?? "") },
        { headers: notKept },
      ),
    ),
  )

  const events = toOperators(access.mayLookAtPage, (request) =>
    Effect.suspend(() => {
      if (readers >= mostReaders) return Effect.fail(tooManyReaders)
      const next = overview.reader(viewOf(request))
      const frames = Stream.fromEffectSchedule(
        Effect.sync(() => `data: ${JSON.stringify(next())}\n\n`),
        Schedule.spaced("1 second"),
      ).pipe(Stream.encodeText, Stream.interruptWhen(draining))
      const counted = Effect.acquireRelease(
        Effect.sync(() => void readers++),
        () => Effect.sync(() => void readers--),
      )
      const body = Stream.unwrap(Effect.as(counted, paced(frames, clientTimeout, Effect.void)))
      return Effect.succeed(
        HttpServerResponse.stream(body, {
          contentType: "text/event-stream; charset=utf-8",
          headers: { ...notKept, "cache-control": "no-store, no-transform", "x-accel-buffering": "no" },
        }),
      )
    }),
  )

  return Layer.mergeAll(
    pageRoutes(access),
    HttpRouter.add("*", "/metrics", metrics),
    HttpRouter.add("*", "/_respool/events", events),
    HttpRouter.add("*", "/_respool/turns", turns),
  )
})

/** Needs `Settings`, `Overview` and the server's address. */
export const layer = Layer.unwrap(make)

const tooManyReaders = ApiError.unavailable("server_overloaded", "Too many pages and terminals look already.", 5)
