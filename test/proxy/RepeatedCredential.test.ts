import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import { eventTypes } from "../support/EventTypes.ts"
import { closing, frame, readFrame, switching } from "../support/Frames.ts"
import { chunk, rawUpstream } from "../support/RawUpstream.ts"
import type { Line } from "../support/RawUpstream.ts"
import { routes } from "../support/RouterRecord.ts"
import { sample } from "../support/Runs.ts"
import { saidTo } from "../support/Talker.ts"
import { makeTenancy } from "../support/Tenancy.ts"
import { TestProxy } from "../support/TestProxy.ts"

/** Spelled differently in a URL, in JSON and in both alphabets of base64. */
const mark = "test-marked-key/a>b?c=~~"

const unicode = (text: string) =>
  [...text].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")

/** The ways to repeat it in a JSON string. */
const spellings: ReadonlyArray<string> = [
  mark,
  `Bearer ${mark}`,
  mark.replaceAll("/", "\\/"),
  unicode(mark),
  unicode(mark).toUpperCase().replaceAll("\\U", "\\u"),
  `${mark.slice(0, 9)}${unicode(mark.slice(9, 14))}${mark.slice(14)}`,
  encodeURIComponent(mark),
  encodeURIComponent(mark).replaceAll(/%../g, (code) => code.toLowerCase()),
  encodeURI(mark),
  ...["", "a", "ab", "Bearer "].flatMap((before) => {
    const text = Buffer.from(`${before}${mark} and so on`)
    return [text.toString("base64"), text.toString("base64url"), Buffer.from(before + mark).toString("base64")]
  }),
]
const words = `No, ${spellings.join(" | ")}, that is no key.`
/** As a header can hold it. */
const echo = spellings.join(" | ").replaceAll(/[^ -~]/g, "")

/** What a reader makes of a text: as it is, with one kind of encoding undone, or with escapes in base64. */
const readings = (text: string): ReadonlyArray<string> => {
  const plain = text
    .replaceAll("\\/", "/")
    .replaceAll(/\\u([0-9a-f]{4})/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
  const decoded = text.replaceAll(/%([0-9a-f]{2})/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  )
  const tokens = [...text.matchAll(/[\w+/-]{16,}/g)].flatMap(([token]) =>
    [0, 1, 2, 3].map((skipped) => Buffer.from(token.slice(skipped), "base64").toString("latin1")),
  )
  return [text, plain, decoded, ...tokens]
}

const holdsMark = (text: string) => readings(text).some((reading) => reading.includes(mark))

/** Head and body of what was said on a connection, without the sizes of chunks. */
const unchunked = (said: string): string => {
  const end = said.indexOf("\r\n\r\n")
  const head = said.slice(0, end)
  if (!/^transfer-encoding: *chunked/im.test(head)) return said
  return head + said.slice(end + 2).replaceAll(/\r\n[0-9a-f]+\r\n/gi, "")
}

const message = `{"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[{"type":"output_text","text":"${words}","annotations":[]}]}`
const members = `"id":"resp_1","object":"response","instructions":"${words}","metadata":{"${words}":"${words}"}`
const response = `{${members},"status":"completed","output":[${message}]}`
const failure = `{"message":"${words}","type":"${words}","code":"${words}","param":"${words}"}`

/** The events of a turn in which one of a type says it in whatever member there could be. */
const eventsOf = (type: string): ReadonlyArray<string> => {
  if (type === "not JSON") return [words]
  const all = `"sequence_number":1,"item_id":"msg_1","output_index":0,"content_index":0,"item":${message},"part":{"type":"output_text","text":"${words}"},"delta":"${words}","text":"${words}","said":"${words}","${words}":1,"error":${failure},"status":401,"message":"${words}","headers":{"x-echo":"${words}","openai-model":"${words}"}`
  const event = `{"type":"${type}",${all},"response":{${members},"status":"failed","error":${failure},"incomplete_details":{"reason":"${words}"},"output":[${message}]}}`
  const created = `{"type":"response.created","sequence_number":0,"response":{${members},"status":"in_progress","output":[]}}`
  const before = type === "response.created" ? [] : [created]
  return [...before, event, `{"type":"response.completed","sequence_number":9,"response":${response}}`]
}

const statusOf = (kind: string) => Number(/^(?:upgrade )?(\d{3})/.exec(kind)?.[1] ?? 200)

const inPieces = (text: string, size: number) => {
  const bytes = Buffer.from(text)
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  )
}

/** Answers over HTTP: the words in the reason, in headers, in the body in pieces, and in the trailers. */
const answerOverHttp = (line: Line, kind: string, stream: boolean) => {
  const status = statusOf(kind)
  const type =
    stream || kind.endsWith("events") ? "text/event-stream" : (/ (\w+\/\w+)$/.exec(kind)?.[1] ?? "application/json")
  const events = eventsOf(eventTypes.includes(kind) || kind === "not JSON" ? kind : "response.output_text.delta")
  const isEvents = type === "text/event-stream" && status < 300
  const body = isEvents
    ? events.map((event) => `event: x\ndata: ${event}\n\n`).join("")
    : kind === "not JSON"
      ? words
      : status >= 300
        ? `{"error":${failure}}`
        : response
  const echoes = ["x-echo", "x-request-id", "www-authenticate", "location", "openai-model", "etag", "set-cookie"]
  const lines = [
    `HTTP/1.1 ${status} ${mark}`,
    `content-type: ${type}`,
    ...echoes.map((name) => `${name}: ${echo}`),
    ...(status === 204 || status === 304 ? [] : ["transfer-encoding: chunked", "trailer: x-trailer"]),
  ]
  line.write(`${lines.join("\r\n")}\r\n\r\n`)
  if (status === 204 || status === 304) return
  for (const piece of inPieces(body, body.length > 20_000 ? 97 : 7)) line.write(chunk(piece))
  line.write(`0\r\nx-trailer: ${mark}\r\n\r\n`)
}

/** What the upstream is to do is in the request: a member of the metadata, a part of the query, a header. */
const kindOf = (head: string, body: string): string =>
  /"kind":"([^"]*)"/.exec(body)?.[1] ?? decodeURIComponent(/[?&]kind=([^ &]*)/.exec(head)?.[1] ?? "200")

const upstream = rawUpstream((line, { body, head }) => {
  credentials.add(/^authorization: *(.*)$/im.exec(head)?.[1]?.trim() ?? "none")
  if (!/^upgrade: *websocket/im.test(head)) {
    if (head.startsWith("HEAD ")) return line.write(`HTTP/1.1 200 OK\r\nx-echo: ${echo}\r\ncontent-length: 9\r\n\r\n`)
    return answerOverHttp(line, kindOf(head, body), body.includes('"stream":true'))
  }
  const refused = /^x-upgrade: *(\d+)/im.exec(head)?.[1]
  if (refused !== undefined) return answerOverHttp(line, refused, false)
  line.write(switching(head, `x-echo: ${echo}`, `x-request-id: ${mark}`))
  let read: Buffer = Buffer.alloc(0)
  line.received = (bytes) => {
    read = Buffer.concat([read, bytes])
    const message = readFrame(read)
    if (message === undefined) return
    read = read.subarray(message.size)
    if (message.opcode !== 1) return
    const kind = kindOf("", message.payload)
    if (kind === "close") return line.write(closing(1008, mark))
    for (const event of eventsOf(kind)) {
      const pieces = inPieces(event, Math.ceil(event.length / 41))
      pieces.forEach((piece, index) =>
        line.write(frame(index === 0 ? 1 : 0, piece, { fin: index === pieces.length - 1 })),
      )
    }
  }
})

const credentials = new Set<string>()

const methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

interface Asked {
  readonly method: string
  readonly path: string
  readonly body?: string
  readonly upgrade?: number
}

const turnOf = (path: string, kind: string, stream: boolean, upgrade?: number): Asked => ({
  method: "POST",
  path,
  body: JSON.stringify({ model: "m", input: "hello", stream, metadata: { kind } }),
  ...(upgrade === undefined ? {} : { upgrade }),
})

const below = [
  "responses/compact",
  "responses/resp_1",
  "responses/resp_1/input_items",
  "responses/resp_1/cancel",
  "models",
  "models/m",
  "files",
  "chat/completions",
  "any/thing",
]

/** Concrete paths of a route: behind a star, what the API has, of which tenants may reach some. */
const pathsOf = (path: string) => (path.endsWith("*") ? below.map((rest) => path.replace("*", rest)) : [path])

const kinds = [...eventTypes, "not JSON", "close", `response.${mark.replaceAll(/\W/g, ".")}`, `response.${mark}`]
const statuses = [200, 201, 204, 206, 302, 304, 400, 401, 403, 404, 409, 413, 429, 500, 503]
const types = ["200 events", "200 text/plain", "200 application/octet-stream", "200 text/event-stream", "500 text/html"]
const shapes = [...statuses.map(String), ...types]

/** All that can be asked for: by each route the router has, with each answer that there is. */
const everything = Effect.map(routes, (all) => {
  const asked: Array<Asked> = []
  for (const { method, path } of all) {
    for (const concrete of pathsOf(path)) {
      for (const used of method === "*" ? methods : [method]) {
        for (const shape of shapes) {
          const target = `${concrete}?kind=${encodeURIComponent(shape)}`
          const hasBody = used !== "GET" && used !== "HEAD" && used !== "OPTIONS"
          asked.push({ method: used, path: target, ...(hasBody ? { body: `{"model":"m","input":"x"}` } : {}) })
        }
      }
    }
    if (!path.endsWith("/responses")) continue
    for (const stream of [true, false]) {
      for (const kind of [...kinds, ...shapes]) asked.push(turnOf(path, kind, stream))
      for (const upgrade of [401, 403, 404, 429, 500, 503]) asked.push(turnOf(path, "429", stream, upgrade))
    }
  }
  return asked
})

/** What the proxy at a URL says to it, to the byte. */
const said = (url: string, key: string, { body, method, path, upgrade }: Asked) => {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    `host: ${new URL(url).host}`,
    "connection: close",
    ...(key === "" ? [] : [`authorization: Bearer ${key}`]),
    ...(upgrade === undefined ? [] : [`x-upgrade: ${upgrade}`]),
    ...(body === undefined ? [] : ["content-type: application/json", `content-length: ${Buffer.byteLength(body)}`]),
  ]
  return Effect.map(saidTo(url, `${lines.join("\r\n")}\r\n\r\n${body ?? ""}`), unchunked)
}

const startIn = (settings: SettingsOptions) =>
  Effect.map(Layer.build(TestProxy.layerProxy({ forwardHeaders: ["x-upgrade"], ...settings })), (context) =>
    Context.get(context, TestProxy),
  )

describe("A credential that is not the caller's", () => {
  it("is found by the test in each of its spellings", () => {
    for (const spelling of spellings) assert.isTrue(holdsMark(`"a ${spelling}"`), spelling)
    assert.isFalse(holdsMark(`{"a":"[redacted]","b":"test-marked-key"}`))
  })

  it("is tried in every event there is", () => {
    for (const type of ["response.completed", "response.mcp_call_arguments.delta", "codex.rate_limits", "error"]) {
      assert.include(eventTypes, type)
    }
    assert.isAtLeast(eventTypes.length, 65)
  })

  for (const whose of ["an upstream's own", "the account's of all keys"] as const) {
    for (const transport of ["websocket", "http"] as const) {
      it.effect(
        `(${whose}) is in no byte of any answer, of any route and event, over ${transport}`,
        () =>
          Effect.gen(function* () {
            credentials.clear()
            const { port } = yield* upstream
            const { a, keysFile } = yield* makeTenancy
            const url = `http://127.0.0.1:${port}/v1`
            const apiKey = Redacted.make(mark)
            const credential = { _tag: "Fixed", apiKey } as const
            const isOwn = whose === "an upstream's own"
            const proxy = yield* startIn(
              isOwn
                ? { transport, upstreams: [{ name: "own", url, models: [], credential }] }
                : { transport, upstreamUrl: url, auth: "keys", keysFile, upstreamApiKey: apiKey },
            )
            const all = yield* everything
            const asked = sample(all)
            const seen = { redacted: 0, statuses: new Set<string>() }
            yield* Effect.forEach(
              asked,
              (one) =>
                Effect.map(said(proxy.url, isOwn ? "" : a.secret, one), (text) => {
                  assert.isFalse(holdsMark(text), `${JSON.stringify(one)}\n${text}`)
                  assert.match(text, /^HTTP\/1\.1 \d{3}/, JSON.stringify(one))
                  if (text.includes("[redacted]")) seen.redacted++
                  seen.statuses.add(text.slice(9, 12))
                }),
              { concurrency: 8 },
            )
            assert.deepStrictEqual([...credentials], [`Bearer ${mark}`])
            assert.isAbove(seen.redacted, asked.length / (isOwn ? 3 : 12))
            // A sample need not have met them all.
            const statuses = asked.length === all.length ? ["200", "401", "404", "429", "500", "502"] : ["200", "429"]
            assert.includeMembers([...seen.statuses], statuses)
            assert.isEmpty(proxy.logged.filter(holdsMark))
          }),
        240_000,
      )
    }
  }
})
