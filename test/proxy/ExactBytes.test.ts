import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { gzipSync } from "node:zlib"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import { ask, idOf } from "../support/Ask.ts"
import { eventsOf, responseIn } from "../support/Events.ts"
import { PlainUpstream } from "../support/PlainUpstream.ts"
import { get, post } from "../support/AskProxy.ts"
import { socketsOpen } from "../support/OpenSockets.ts"

const proxied = TestProxy.layerBrief

const turn = Effect.fnUntraced(function* (body: string) {
  const answer = yield* post(body)
  assert.strictEqual(answer.status, 200, answer.text)
  return answer
})

const lastRaw = Effect.map(Simulator, ({ turns }) => turns.at(-1)?.raw ?? "")

// What a JSON.parse and JSON.stringify, or a change of encoding, would not give back.
const numbers = `{"big":9007199254740993,"one":1.0,"huge":1E400,"tiny":-0,"exp":1e+2}`
const strings = `["\\u00e9","é","\\/","/","\\ud83d\\ude00","😀","\\ud800","\\u2028","\\u0000","\\b"]`
const odd = `"z":1,"10":2,"a":{"b":1.10,"a":0},"n":${numbers},"s":${strings},"__proto__":{"x":1}`
const first = `{ "role":"user","content":"\\u00e9\\/ \\ud83d\\ude00 😀" , "extra" : ${numbers} }`
const unknown = `{"type":"made_up_item","payload":${strings},"n":12345678901234567890}`
const second = `{"content":[{"text":"And \\u00e9\\/ then?","type":"input_text","weight":1.0}],"role":"user","n":1E400}`
const members = `"model":"gpt-5.5",${odd},"store":false`

describe("A request's bytes reach the upstream as the client wrote them", () => {
  it.effect("in full over the socket", () =>
    Effect.gen(function* () {
      yield* turn(`{${members},"input":[${first},${unknown}]}`)
      assert.strictEqual(yield* lastRaw, `{"type":"response.create",${members},"input":[${first},${unknown}]}`)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("as the suffix of a conversation", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const answer = yield* turn(`{"input":[${first}],${members}}`)
      const output = simulator.turns[0]?.output.join(",")
      yield* turn(`{"input":[${first},${output},  ${second} , ${unknown} ],${members}}`)
      const id = idOf(answer)
      assert.strictEqual(
        yield* lastRaw,
        `{"type":"response.create","previous_response_id":"${id}","input":[${second} , ${unknown}],${members}}`,
      )
      assert.strictEqual(simulator.counters.continuations, 1)
    }).pipe(Effect.provide(proxied())),
  )

  it.effect("over HTTP, blanks and stream included", () =>
    Effect.gen(function* () {
      const body = ` {"stream" : false , ${members},\n\t"input":[${first} ,${unknown}]}\n`
      yield* turn(body)
      assert.strictEqual(yield* lastRaw, body)
    }).pipe(Effect.provide(proxied({ transport: "http" }))),
  )

  it.effect("decoded, where they came encoded, over either transport", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const simulator = yield* Simulator
      const encoded = (body: string) =>
        ask(`${url}/responses`, {
          key: "test-key-a",
          headers: { "content-encoding": "gzip" },
          body: new Uint8Array(gzipSync(body)),
        })
      yield* encoded(`{${members},"input":[${first}]}`)
      assert.strictEqual(yield* lastRaw, `{"type":"response.create",${members},"input":[${first}]}`)
      yield* simulator.configure({ websocket: "off" })
      yield* simulator.disconnect()
      yield* socketsOpen(simulator, 0)
      const body = `{${members},"input":[${first}],"instructions":"Be brief."}`
      yield* encoded(body)
      assert.strictEqual(yield* lastRaw, body)
      assert.notProperty(simulator.turns.at(-1)?.headers, "content-encoding")
    }).pipe(Effect.provide(proxied())),
  )
})

describe("A body that brings members which are not its own to set", () => {
  const smuggled: ReadonlyArray<readonly [what: string, member: string]> = [
    ["type", `"type":"response.cancel"`],
    ["stream_id", `"stream_id":"lane-b"`],
    ["generate", `"generate":false`],
    ["background", `"background":false`],
    ["background_options as null", `"background_options":null`],
    ["stream", `"stream":false`],
    ["stream as null", `"stream":null`],
    ["type, spelled with escapes", `"\\u0074ype":"response.cancel"`],
    ["stream_id, spelled with escapes", `"stream\\u005fid":"lane-b"`],
    ["generate, spelled with escapes", `"\\u0067\\u0065nerate":false`],
    ["background, spelled with escapes", `"back\\u0067round":false`],
    ["background_options as null, spelled with escapes", `"background\\u005foptions":null`],
    ["stream, spelled with escapes", `"strea\\u006d":false`],
  ]
  for (const [what, member] of smuggled) {
    it.effect(`changes nothing upstream by ${what}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        yield* turn(`{${member},${members},"input":[${first}]}`)
        assert.strictEqual(yield* lastRaw, `{"type":"response.create",${members},"input":[${first}]}`)
        assert.deepInclude(simulator.turns[0], {
          transport: "websocket",
          status: "completed",
          streamId: undefined,
          generate: true,
        })
      }).pipe(Effect.provide(proxied())),
    )
  }

  for (const [what, member] of [
    ["a second input", `"input":[]`],
    ["a second input, spelled with escapes", `"inpu\\u0074":[]`],
    ["a second type", `"type":"a","\\u0074ype":"b"`],
  ] as const) {
    it.effect(`reaches no upstream with ${what}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const body = `{${members},"input":[${first}],${member}}`
        assert.strictEqual((yield* post(body)).status, 400)
        assert.deepInclude(simulator.counters, { upgrades: 0, websocketTurns: 0, httpTurns: 0 })
      }).pipe(Effect.provide(proxied())),
    )
  }

  it.effect("keeps members of these names where they are below the top", () =>
    Effect.gen(function* () {
      const nested = `"metadata":{"type":"a","stream_id":"b","generate":false,"background":true,"input":"c"}`
      yield* turn(`{${members},${nested},"input":[${first}]}`)
      assert.strictEqual(yield* lastRaw, `{"type":"response.create",${members},${nested},"input":[${first}]}`)
    }).pipe(Effect.provide(proxied())),
  )
})

const custom = `{"type":"response.custom.event","n":${numbers},"s":${strings},  "z":1,"a":[ 1.0 ]}`
const keyLast = `{"n":${numbers},"type":"response.custom.event"}`
const done = `{"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"msg_1","n":${numbers},"s":${strings},"role":"assistant","content":[]}}`
const item = done.slice(done.indexOf(`{"type":"message"`), -1)
const response = (output: string) =>
  `{"id":"resp_1", "object":"response","status":"completed",${output}"n":${numbers},"s":${strings}}`
const terminal = (output: string) => `{"type":"response.completed","sequence_number":3,"response":${response(output)}}`

const sent = (output: string) => [
  `{"type":"response.created","response":{"id":"resp_1"}}`,
  custom,
  keyLast,
  done,
  terminal(output),
]

describe("An answer's bytes reach the client as the upstream wrote them", () => {
  const sse = (frames: ReadonlyArray<string>, stream: boolean) =>
    stream
      ? new Response(frames.map((frame) => `data: ${frame}\n\n`).join(""), {
          headers: { "content-type": "text/event-stream" },
        })
      : new Response(response(`"output":[${item}],`), { headers: { "content-type": "application/json" } })
  for (const transport of ["websocket", "http"] as const) {
    const frames = sent(`"output":[${item}],`)
    const upstream = PlainUpstream.layerProxied(
      { frames: () => frames, http: ({ body }) => sse(frames, body.includes(`"stream":true`)) },
      { transport },
    )

    it.effect(`as events, over ${transport}`, () =>
      Effect.gen(function* () {
        const { text } = yield* turn(`{"model":"m","input":"x","stream":true}`)
        assert.deepStrictEqual(
          eventsOf(text).map(({ data }) => data),
          frames,
        )
        assert.deepStrictEqual(
          eventsOf(text).map(({ type }) => type),
          [
            "response.created",
            "response.custom.event",
            "response.custom.event",
            "response.output_item.done",
            "response.completed",
          ],
        )
      }).pipe(Effect.provide(upstream)),
    )

    it.effect(`as one JSON body, over ${transport}`, () =>
      Effect.gen(function* () {
        const answer = yield* turn(`{"model":"m","input":"x"}`)
        assert.strictEqual(answer.text, response(`"output":[${item}],`))
        assert.strictEqual(answer.headers.get("content-type"), "application/json")
      }).pipe(Effect.provide(upstream)),
    )
  }

  it.effect("from an SSE stream in any legal form: CRLF, comments, ids, retry, several data lines and [DONE]", () =>
    Effect.gen(function* () {
      const { text } = yield* turn(`{"model":"m","input":"x","stream":true}`)
      assert.deepStrictEqual(
        eventsOf(text).map(({ data }) => data),
        [`{"type":"response.created", "response":{"id":"resp_1"}}`, custom, terminal("")],
      )
    }).pipe(
      Effect.provide(
        PlainUpstream.layerProxied(
          {
            http: () =>
              new Response(
                [
                  `: hello\r\n\r\nretry: 3000\r\n\r\n`,
                  `id: 1\r\nevent: whatever\r\ndata: {"type":"response.created",\r\ndata: "response":{"id":"resp_1"}}\r\n\r\n`,
                  `data:${custom}\n\n: ping\n\nretry: 1\n\n`,
                  `event: response.completed\ndata: ${terminal("")}\n\ndata: [DONE]\n\n`,
                ].join(""),
                { headers: { "content-type": "text/event-stream" } },
              ),
          },
          { transport: "http" },
        ),
      ),
    ),
  )
})

describe("A terminal event that leaves its output out", () => {
  const sparse = [`"output":[],`, `"output":null,`, ``]
  for (const [index, output] of sparse.entries()) {
    const filled = output === "" ? `{${response("").slice(1, -1)},"output":[${item}]}` : response(`"output":[${item}],`)
    for (const stream of [true, false]) {
      it.effect(
        `gets the finished items, and is else untouched (${output === "" ? "absent" : output}${stream ? " streaming" : ""})`,
        () =>
          Effect.gen(function* () {
            const { text } = yield* turn(`{"model":"m","input":"x","stream":${stream}}`)
            assert.strictEqual(stream ? responseIn(eventsOf(text).at(-1)) : text, filled)
          }).pipe(Effect.provide(PlainUpstream.layerProxied({ frames: () => sent(sparse[index] ?? "") }))),
      )
    }
  }

  for (const stream of [true, false]) {
    it.effect(`gives the client the same response as the whole one${stream ? ", streaming" : ""}`, () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const tools = `"tools":[{"type":"function","name":"look_up","parameters":{"type":"object"}}]`
        const { text } = yield* turn(`{"model":"m","input":"use 1 step","store":true,${tools},"stream":${stream}}`)
        const given = stream ? responseIn(eventsOf(text).at(-1)) : text
        const id = simulator.turns[0]?.responseId ?? ""
        const stored = yield* get(`/responses/${id}`)
        assert.strictEqual(stored.status, 200)
        assert.deepStrictEqual(JSON.parse(given), JSON.parse(stored.text))
        assert.include(given, `"output":[${simulator.turns[0]?.output.join(",")}]`)
        assert.isAbove(simulator.turns[0]?.output.length ?? 0, 1)
      }).pipe(Effect.provide(proxied({}, { sparseTerminal: true, script: agent({ calls: 2 }) }))),
    )
  }

  it.effect("is not filled where the upstream gave an output of its own", () =>
    Effect.gen(function* () {
      const own = `"output":[{"type":"message","id":"msg_2"}],`
      const answer = yield* Effect.provide(
        turn(`{"model":"m","input":"x"}`),
        PlainUpstream.layerProxied({ frames: () => sent(own) }),
      )
      assert.strictEqual(answer.text, response(own))
    }),
  )
})

describe("A terminal event that leaves some of its items out", () => {
  const items = ["a", "b", "c"].map((id) => `{"type":"message","id":"${id}","n":1.0}`)
  const changed = `{"type":"message","id":"b","late":true}`
  const other = `{"type":"message","id":"d"}`
  const of = (...which: ReadonlyArray<number>) => which.map((index) => items[index] ?? "")
  const cases: ReadonlyArray<readonly [what: string, shown: ReadonlyArray<string>, told: ReadonlyArray<string>]> = [
    ["the last", of(0, 1), items],
    ["the first", of(1, 2), items],
    ["the one in the middle", of(0, 2), items],
    ["all but the last", of(2), items],
    ["all but the first", of(0), items],
    ["all but one, which became another", [changed], [items[0] ?? "", changed, items[2] ?? ""]],
    ["the first two, and has one that never finished", [items[2] ?? "", other], [...items, other]],
    ["none", items, items],
  ]
  const ways = [
    ["websocket", false],
    ["websocket", true],
    ["http", true],
  ] as const
  for (const [what, shown, told] of cases) {
    for (const [transport, stream] of ways) {
      it.effect(
        `gives the client all that finished, where it leaves out ${what} (${transport}${stream ? ", streaming" : ""})`,
        () => {
          const last = (output: ReadonlyArray<string>) =>
            `{"id":"resp_1","object":"response","status":"completed","output":[${output.join(",")}]}`
          const frames = [
            `{"type":"response.created","response":{"id":"resp_1"}}`,
            ...items.map((item, at) => `{"type":"response.output_item.done","output_index":${at},"item":${item}}`),
            `{"type":"response.completed","response":${last(shown)}}`,
          ]
          const events = frames.map((frame) => `data: ${frame}\n\n`).join("")
          return Effect.gen(function* () {
            const { text } = yield* turn(`{"model":"m","input":"x","stream":${stream}}`)
            assert.strictEqual(stream ? responseIn(eventsOf(text).at(-1)) : text, last(told))
          }).pipe(
            Effect.provide(
              PlainUpstream.layerProxied(
                {
                  frames: () => frames,
                  http: () => new Response(events, { headers: { "content-type": "text/event-stream" } }),
                },
                { transport },
              ),
            ),
          )
        },
      )
    }
  }
})
