/**
 * An upstream that says exactly what a test gives it, over either transport: for answers no honest upstream would make.
 */
import type { LogLevel } from "effect"
import { Context, Effect, Layer } from "effect"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { TestProxy } from "./TestProxy.ts"

export interface Heard {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly headers: Headers
  readonly body: string
}

export interface Says {
  /** Frames that answer each message; undefined refuses every upgrade with 426. */
  readonly frames?: (message: string) => ReadonlyArray<string>
  /** How the socket ends in place of an answer: by a code, or cut without one. `message`: undefined as it opens. */
  readonly ends?: (message: string | undefined) => number | "cut" | undefined
  /** The answer to an upgrade that is refused. */
  readonly upgrade?: () => Response
  readonly http?: (request: Heard) => Response
}

const ended = (socket: Bun.ServerWebSocket<unknown>, how: number | "cut" | undefined) => {
  if (how === "cut") socket.terminate()
  else if (how !== undefined) socket.close(how)
}

let answers = 0

/** A response with nothing in it, under an id of its own. */
export const emptyResponse = () => `{"id":"resp_${++answers}","object":"response","status":"completed","output":[]}`

/** The event that ends a turn with such a response. */
export const emptyAnswer = (sequenceNumber = 0) =>
  `{"type":"response.completed","sequence_number":${sequenceNumber},"response":${emptyResponse()}}`

export class PlainUpstream extends Context.Service<
  PlainUpstream,
  {
    readonly url: string
    /** Every HTTP request, upgrades excepted, and every message on a socket as `WS`. */
    readonly heard: ReadonlyArray<Heard>
    /** How many HTTP requests have begun to arrive, upgrades excepted. */
    readonly begun: () => number
  }
>()("test/server/PlainUpstream") {
  static readonly layer = ({
    ends = () => undefined,
    upgrade = () => new Response("", { status: 426 }),
    frames,
    http = () => new Response("{}", { status: 404 }),
  }: Says) =>
    Layer.effect(
      PlainUpstream,
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => {
            const heard: Array<Heard> = []
            const arrived = { requests: 0 }
            const server = Bun.serve<{ readonly url: string; readonly headers: Headers }>({
              hostname: "127.0.0.1",
              port: 0,
              fetch: async (request, server) => {
                const { pathname, search } = new URL(request.url)
                const url = `${pathname}${search}`
                const headers = new Headers(request.headers)
                if (request.headers.get("upgrade") === "websocket") {
                  if (frames === undefined) return upgrade()
                  if (server.upgrade(request, { data: { url, headers } })) return undefined
                }
                arrived.requests++
                const record = { method: request.method, url, headers, body: await request.text() }
                heard.push(record)
                return http(record)
              },
              websocket: {
                maxPayloadLength: 64 * 1024 * 1024,
                open: (socket) => ended(socket, ends(undefined)),
                message: (socket, message) => {
                  heard.push({ ...socket.data, method: "WS", body: String(message) })
                  const end = ends(String(message))
                  if (end !== undefined) return ended(socket, end)
                  for (const frame of frames?.(String(message)) ?? []) socket.send(frame)
                },
              },
            })
            return { arrived, heard, server }
          }),
          ({ server }) => Effect.promise(() => server.stop(true)),
        ),
        ({ arrived, heard, server }) =>
          PlainUpstream.of({ heard, begun: () => arrived.requests, url: `http://127.0.0.1:${server.port}/v1` }),
      ),
    )

  /** The proxy in front of it. */
  static readonly layerProxied = (says: Says, settings: Partial<SettingsValues> = {}, logs?: LogLevel.LogLevel) =>
    Layer.unwrap(
      Effect.map(PlainUpstream, ({ url }) => TestProxy.layerProxy({ ...settings, upstreamUrl: url }, undefined, logs)),
    ).pipe(Layer.provideMerge(PlainUpstream.layer(says)))
}
