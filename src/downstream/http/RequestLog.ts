/**
 * Writes a line into the log for each request that became no turn: for those that were refused, and for what was passed
 * through. A turn has a line of its own, at its end.
 */
import { Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import * as Flood from "../../turn/record/Flood.ts"
import { shortened } from "../ApiError.ts"
import { requestId } from "../RequestId.ts"

/** What a handler knows of a request that its line should say. */
interface Note {
  /** True: it became a turn. */
  readonly turn?: boolean
  /** The caller, as the log calls it. */
  readonly scope?: string
  /** The code of the error that it was refused with, or of the failure upstream. */
  readonly code?: string | undefined
  /** The upstream's status, where it answered. */
  readonly upstreamStatus?: number | undefined
  /** In place of the answer's own. */
  readonly status?: number
}

/** An answer whose head goes out. */
export interface Answered {
  readonly request: Request
  readonly address: string | undefined
  readonly status: number
  /** The code of the server's own refusal, of which no handler knows. */
  readonly code?: string | null
  readonly millis: number
}

const notes = new WeakMap<object, Note>()

export const note = ({ source }: Pick<HttpServerRequest.HttpServerRequest, "source">, more: Note) => {
  notes.set(source, { ...notes.get(source), ...more })
}

/** Those who ask so do it every few seconds. */
const probes: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/metrics"])

/** The path alone: a query may hold anything. */
const pathOf = (url: string) => shortened(/^[a-z]+:\/\/[^/]*([^?#]*)/i.exec(url)?.[1] ?? url.split(/[?#]/)[0] ?? "")

export const make = Effect.gen(function* () {
  const bounded = yield* Flood.make
  const run = Effect.runForkWith(yield* Effect.context<never>())

  return ({ address, code, millis, request, status: answered }: Answered) => {
    const { status = answered, turn, upstreamStatus, ...noted } = notes.get(request) ?? {}
    if (turn === true) return
    const path = pathOf(request.url)
    const id = requestId({
      "x-request-id": request.headers.get("x-request-id") ?? undefined,
      "x-client-request-id": request.headers.get("x-client-request-id") ?? undefined,
    })
    const known = noted.code ?? code ?? undefined
    const fields = {
      ...(id === undefined ? {} : { request: id }),
      ...(noted.scope === undefined ? {} : { scope: noted.scope }),
      ...(address === undefined ? {} : { client: address }),
      method: request.method,
      path,
      status,
      ...(known === undefined ? {} : { code: known }),
      ...(upstreamStatus === undefined ? {} : { upstreamStatus }),
      totalMs: millis,
    }
    const said =
      status >= 500
        ? Effect.logWarning("request")
        : status < 400 && probes.has(path)
          ? Effect.logDebug("request")
          : Effect.logInfo("request")
    const line = Effect.annotateLogs(said, fields)
    run(status < 400 ? line : bounded(`request ${status}`, line))
  }
})
