import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { TestProxy } from "../support/TestProxy.ts"
import type { Answer, Asked } from "../support/Ask.ts"
import { ask, errorOf, idOf, open } from "../support/Ask.ts"
import { driven } from "../support/Faulty.ts"
import type { Line } from "../support/RawUpstream.ts"
import { chunk, head, lastChunk, rawUpstream } from "../support/RawUpstream.ts"
import { askRaw, makeRecorder } from "../support/Recorder.ts"
import type { Made } from "../support/Tenancy.ts"
import { everyKind, madeBy, makeTenancy, recordIds, revokeKey, startProxy, upstreamKey } from "../support/Tenancy.ts"
import { user } from "../support/Items.ts"
import { utf8 } from "../support/Bytes.ts"
import { reading } from "../support/Reading.ts"
import { eventually } from "../support/EventLoop.ts"
import { serve } from "../support/Serve.ts"

const tools = [{ type: "function", name: "look_up", parameters: {}, strict: false }]
const turnOf = (more: JsonObject): JsonObject => ({ model: "gpt-5.5", tools, input: [user("And then?")], ...more })
const idIn = (item: JsonObject) => String(item["id"])

const strict = Simulator.layer({ script: everyKind, apiKeys: [upstreamKey] })

/** A tenancy on the simulator, where `a` has two conversations and, over a proxy that has stopped, made one turn. */
const begin = Effect.gen(function* () {
  const tenancy = yield* makeTenancy
  const simulator = yield* Simulator
  yield* recordIds(tenancy, `key:${tenancy.a.id}`, ["conv_a", "conv_a2"])
  const first = yield* Effect.scoped(
    Effect.gen(function* () {
      const { url } = yield* startProxy(tenancy, simulator.url)
      return yield* ask(`${url}/responses`, { key: tenancy.a.secret, body: turnOf({ input: [user("Begin.")] }) })
    }),
  )
  assert.strictEqual(first.status, 200, first.text)
  return { tenancy, simulator, made: madeBy(first) }
})

type Places = ReadonlyArray<readonly [place: string, body: JsonObject]>

/** Every place of a body where an id can stand, as its owner sends it. */
const placesOf = ({ call, code, items, message, reasoning, response, result }: Made): Places => {
  const before = (item: JsonObject): JsonObject => turnOf({ input: [item, user("And then?")] })
  const container = String(code["container_id"])
  return [
    ["previous_response_id", turnOf({ previous_response_id: response, input: [result] })],
    ["conversation as a text", turnOf({ conversation: "conv_a" })],
    ["conversation as an object", turnOf({ conversation: { id: "conv_a2" } })],
    ["item_reference", before({ type: "item_reference", id: idIn(message) })],
    ["item_reference without a type", before({ id: idIn(message) })],
    ["item_reference with a type of null", before({ type: "item_reference", id: idIn(reasoning), status: null })],
    ["item_reference to a call", turnOf({ input: [{ type: "item_reference", id: idIn(call) }, result] })],
    ["a whole reasoning item", before(reasoning)],
    ["a whole message", before(message)],
    ["a whole function call", turnOf({ input: [call, result] })],
    ["a whole output", turnOf({ input: [...items, result] })],
    ["the container of an item", before({ ...code, id: null })],
    ["the container of a tool", turnOf({ tools: [...tools, { type: "code_interpreter", container }] })],
  ]
}

/** Each place of the turn's body that is a compaction's too. */
const compactionsOf = (made: Made): Places => placesOf(made).filter(([place]) => !place.startsWith("conversation"))

const reachesItsOwn = Effect.fnUntraced(function* (url: string, key: string, made: Made) {
  for (const [place, body] of placesOf(made)) {
    const answer = yield* ask(`${url}/responses`, { key, body })
    assert.strictEqual(answer.status, 200, `${place}: ${answer.text}`)
  }
  for (const [place, body] of compactionsOf(made)) {
    const answer = yield* ask(`${url}/responses/compact`, { key, body })
    assert.strictEqual(answer.status, 200, `compact, ${place}: ${answer.text}`)
    assert.strictEqual(answer.json?.["object"], "response.compaction")
  }
  const response = yield* ask(`${url}/responses/${made.response}`, { key })
  assert.strictEqual(idOf(response), made.response)
  const items = yield* ask(`${url}/responses/${made.response}/input_items?order=asc`, { key })
  assert.include(items.text, "Begin.")
})

/** The answer that a stranger gets, which is that for an id nobody has. */
const isUnknown = (answer: Answer, id: string, place: string) => {
  assert.strictEqual(answer.status, 404, `${place}: ${answer.text}`)
  assert.match(errorOf(answer).message, new RegExp(`^[A-Z][a-z ]+ with id '${id}' not found\\.$`), place)
}

/** `key` is refused in every place, and nothing of it goes upstream. */
const reachesNothing = Effect.fnUntraced(function* (url: string, key: string, made: Made) {
  const simulator = yield* Simulator
  // Sockets of a proxy that has stopped may still be closing; nothing else changes without a request.
  const seen = () => ({ ...simulator.counters, openSockets: 0, turns: simulator.turns.length })
  const before = seen()
  const known = [made.response, "conv_a", "conv_a2", ...made.items.map(idIn), String(made.code["container_id"])]
  const anyKnown = `(?:${known.join("|")})`
  for (const [place, body] of placesOf(made)) {
    for (const stream of [false, true]) {
      isUnknown(yield* ask(`${url}/responses`, { key, body: { ...body, stream } }), anyKnown, place)
    }
    isUnknown(yield* ask(`${new URL(url).origin}/responses`, { key, body }), anyKnown, `without /v1, ${place}`)
  }
  for (const [place, body] of compactionsOf(made)) {
    isUnknown(yield* ask(`${url}/responses/compact`, { key, body }), anyKnown, `compact, ${place}`)
  }
  const { response } = made
  const pages: ReadonlyArray<readonly [path: string, asked: Asked]> = [
    [response, {}],
    [response, { method: "DELETE" }],
    [`${response}/input_items`, {}],
    [`${response}/cancel`, { method: "POST" }],
  ]
  for (const [path, asked] of pages) {
    isUnknown(yield* ask(`${url}/responses/${path}`, { ...asked, key }), response, path)
  }
  assert.deepStrictEqual(seen(), before)
})

describe("In keys mode", () => {
  it.effect("a key reaches every id of its own, and another key none of them, also after a restart", () =>
    Effect.gen(function* () {
      const { made, simulator, tenancy } = yield* begin
      for (let start = 0; start < 2; start++) {
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { url } = yield* startProxy(tenancy, simulator.url)
            yield* reachesNothing(url, tenancy.b.secret, made)
            yield* reachesItsOwn(url, tenancy.a.secret, made)
            yield* reachesNothing(url, tenancy.b.secret, made)
          }),
        )
      }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { url } = yield* startProxy(tenancy, simulator.url)
          const asked = { method: "DELETE", key: tenancy.a.secret }
          const deleted = yield* ask(`${url}/responses/${made.response}`, asked)
          assert.strictEqual(deleted.json?.["deleted"], true)
        }),
      )
    }).pipe(Effect.provide(strict)),
  )

  it.effect("the upstream sees its own key only, over both transports, and no answer or log line holds one", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const simulator = yield* Simulator
      const key = tenancy.a.secret
      for (const transport of ["websocket", "http"] as const) {
        const { logged, url } = yield* startProxy(tenancy, simulator.url, { transport })
        const headers = { "api-key": key, "x-api-key": key, cookie: `key=${key}` }
        const answer = yield* ask(`${url}/responses`, { key, headers, body: turnOf({}) })
        assert.strictEqual(answer.status, 200, answer.text)
        assert.strictEqual(answer.headers.get("x-respool-transport"), transport)
        const seen = `${answer.text}${JSON.stringify([...answer.headers])}${logged.join()}`
        assert.include(logged.join(), `a (${tenancy.a.id})`)
        for (const secret of [key, key.slice(-43), upstreamKey]) assert.notInclude(seen, secret)
      }
      assert.lengthOf(simulator.turns, 2)
      for (const { headers } of [...simulator.turns, ...simulator.connections]) {
        assert.strictEqual(headers["authorization"], `Bearer ${upstreamKey}`)
      }
      assert.notInclude(JSON.stringify([simulator.turns, simulator.connections]), key.slice(-43))
    }).pipe(Effect.provide(strict)),
  )

  it.effect("no key and a wrong key get the API's 401 on every path, and nothing goes upstream", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { requests, url: upstream } = yield* makeRecorder(() => "{}")
      const { url } = yield* startProxy(tenancy, upstream, { transport: "http" })
      const { secret } = tenancy.a
      const changed = `${secret.slice(0, -1)}${secret.endsWith("A") ? "B" : "A"}`
      const wrong: ReadonlyArray<Readonly<Record<string, string>>> = [
        {},
        { authorization: "" },
        { authorization: secret },
        { authorization: `Basic ${secret}` },
        { authorization: `Bearer ${changed}` },
        { authorization: `Bearer ${secret}x` },
        { authorization: `Bearer ${secret.toUpperCase()}` },
        { authorization: `Bearer ${tenancy.a.id}` },
        { authorization: `Bearer ${secret}, Bearer ${tenancy.b.secret}` },
        { authorization: `Bearer ${upstreamKey}` },
        { "x-api-key": secret },
        { "api-key": changed },
        { "api-key": `Bearer ${secret}` },
      ]
      const paths: ReadonlyArray<readonly [path: string, asked: Asked]> = [
        ["responses", { body: turnOf({}) }],
        ["responses/compact", { body: turnOf({}) }],
        ["responses/resp_x", {}],
        ["models", {}],
        ["files", {}],
      ]
      for (const headers of wrong) {
        for (const [path, asked] of paths) {
          const answer = yield* ask(`${url}/${path}`, { ...asked, headers })
          assert.strictEqual(answer.status, 401, `${path} ${JSON.stringify(headers)}`)
          const { code, param, status } = errorOf(answer)
          assert.deepStrictEqual({ code, param, status }, { code: "invalid_api_key", param: null, status: 401 })
          assert.strictEqual(answer.headers.get("www-authenticate"), "Bearer")
          assert.notInclude(answer.text, secret.slice(-20))
        }
      }
      assert.lengthOf(requests, 0)
      yield* ask(`${url}/models`, { key: secret })
      assert.lengthOf(requests, 1)
    }),
  )

  it.effect("two keys of one user share conversation, connection and ids, and nobody else's", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const simulator = yield* Simulator
      const { url } = yield* startProxy(tenancy, simulator.url)
      const headers = { "session-id": "the-session" }
      const opening = user("Begin.")
      const first = yield* ask(`${url}/responses`, {
        key: tenancy.c.secret,
        headers,
        body: turnOf({ input: [opening] }),
      })
      const made = madeBy(first)
      const body = turnOf({ input: [opening, ...made.items, made.result] })
      yield* reachesNothing(url, tenancy.a.secret, made)
      const second = yield* ask(`${url}/responses`, { key: tenancy.d.secret, headers, body })
      assert.strictEqual(second.headers.get("x-respool-input"), "suffix", second.text)
      assert.strictEqual(simulator.turns[1]?.connection, simulator.turns[0]?.connection)
      assert.strictEqual(simulator.turns[1]?.request?.["previous_response_id"], made.response)
      assert.strictEqual(
        idOf(yield* ask(`${url}/responses/${made.response}`, { key: tenancy.d.secret })),
        made.response,
      )
    }).pipe(Effect.provide(strict)),
  )

  it.effect("ids that only the upstream knows are nobody's", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const simulator = yield* Simulator
      const headers = { authorization: `Bearer ${upstreamKey}` }
      const direct = yield* ask(`${simulator.url}/responses`, { headers, body: turnOf({ input: [user("Begin.")] }) })
      const made = madeBy(direct)
      const { url } = yield* startProxy(tenancy, simulator.url)
      const turns = simulator.turns.length
      const places = placesOf(made).filter(([place]) => /^(previous|conversation|item_reference)/.test(place))
      assert.lengthOf(places, 7)
      for (const { secret: key } of [tenancy.a, tenancy.b, tenancy.c]) {
        for (const [place, body] of places) {
          assert.strictEqual((yield* ask(`${url}/responses`, { key, body })).status, 404, place)
        }
        for (const path of [made.response, `${made.response}/input_items`]) {
          isUnknown(yield* ask(`${url}/responses/${path}`, { key }), made.response, path)
        }
      }
      assert.lengthOf(simulator.turns, turns)
    }).pipe(Effect.provide(strict)),
  )

  it.effect("a compaction makes no message anybody's that it only repeats", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const simulator = yield* Simulator
      const headers = { authorization: `Bearer ${upstreamKey}` }
      const body = turnOf({ input: [user("Begin.")] })
      const { message } = madeBy(yield* ask(`${simulator.url}/responses`, { headers, body }))
      const { url } = yield* startProxy(tenancy, simulator.url)
      const key = tenancy.b.secret
      const claim = { ...user("Mine?"), id: idIn(message) }
      const compacted = yield* ask(`${url}/responses/compact`, { key, body: turnOf({ input: [claim] }) })
      assert.include(compacted.text, idIn(message))
      const reference = turnOf({ input: [{ type: "item_reference", id: idIn(message) }, user("And then?")] })
      isUnknown(yield* ask(`${url}/responses`, { key, body: reference }), idIn(message), "item_reference")
    }).pipe(Effect.provide(strict)),
  )

  it.effect("an id is its owner's from the moment a stream shows it, while the turn still runs", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const simulator = yield* Simulator
      const { url } = yield* startProxy(tenancy, simulator.url)
      yield* simulator.failNext({ _tag: "Hold", at: 3 })
      const opening = yield* Effect.forkScoped(
        open(`${url}/responses`, { key: tenancy.a.secret, body: turnOf({ stream: true }) }),
      )
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      const reader = reading(yield* Fiber.join(opening))
      const text = yield* reader.upTo("response.created")
      const shown = /"id":"(resp_[0-9a-f]+)"/.exec(text)?.[1] ?? ""
      assert.strictEqual(simulator.turns[0]?.responseId, shown)
      assert.strictEqual(simulator.turns[0]?.status, "running")
      const cancel = { method: "POST" }
      isUnknown(yield* ask(`${url}/responses/${shown}/cancel`, { ...cancel, key: tenancy.b.secret }), shown, "b")
      // The simulator cannot cancel: its own words say that the request got there.
      const own = yield* ask(`${url}/responses/${shown}/cancel`, { ...cancel, key: tenancy.a.secret })
      assert.match(errorOf(own).message, /^Invalid URL \(POST \/v1\/responses\/resp_/)

      yield* simulator.release
      assert.include(yield* reader.rest, "response.completed")
    }).pipe(Effect.provide(strict)),
  )
})

describe("In keys mode a response that is fetched", () => {
  const item = (name: string) => ({ type: "web_search_call", id: `ws_${name}`, status: "completed" })
  const fetched = { object: "response", status: "completed", output: [item("1")] }
  const streamed = ["response.created", "response.output_item.done", "response.completed"].map((type, index) => {
    const done = { output_index: 0, item: item("2") }
    const response = { id: "resp_made", object: "response", output: index === 2 ? [item("3")] : [] }
    return `event: ${type}\ndata: ${JSON.stringify({ type, ...(index === 1 ? done : { response }) })}\n\n`
  })
  const asked: ReadonlyArray<readonly [how: string, method: string, path: string, ids: ReadonlyArray<string>]> = [
    ["as an object", "GET", "resp_made", ["ws_1"]],
    ["as events", "GET", "resp_made?stream=true", ["ws_2", "ws_3"]],
    ["when it is cancelled", "POST", "resp_made/cancel", ["ws_1"]],
  ]

  for (const [how, method, path, ids] of asked) {
    it.effect(`${how} makes what it shows first its owner's`, () =>
      Effect.gen(function* () {
        const tenancy = yield* makeTenancy
        yield* recordIds(tenancy, `key:${tenancy.a.id}`, ["resp_made"])
        const bodies: Array<string> = []
        const upstream = yield* serve(async (request) => {
          const text = await request.text()
          if (text !== "") bodies.push(text)
          return request.url.includes("stream=true")
            ? new Response(streamed.join(""), { headers: { "content-type": "text/event-stream" } })
            : Response.json({ id: "resp_made", ...fetched })
        })
        const upstreamUrl = `http://127.0.0.1:${upstream.port}/v1`
        const { url } = yield* startProxy(tenancy, upstreamUrl, { transport: "http" })
        const replay = (id: string, { secret }: typeof tenancy.a) =>
          ask(`${url}/responses`, { key: secret, body: turnOf({ input: [{ ...item(""), id }, user("And then?")] }) })
        for (const id of ids) isUnknown(yield* replay(id, tenancy.a), id, "before")
        const answer = yield* ask(`${url}/responses/${path}`, { method, key: tenancy.a.secret })
        assert.include(answer.text, ids.join().slice(0, 4))
        for (const id of ids) {
          assert.strictEqual((yield* replay(id, tenancy.a)).status, 200)
          isUnknown(yield* replay(id, tenancy.b), id, "b")
        }
        assert.lengthOf(bodies, ids.length)
      }),
    )
  }
})

describe("In keys mode an upstream's answer that is gathered before it goes out", () => {
  /** The proxy in front of an upstream whose bytes are the test's own. */
  const against = Effect.fnUntraced(function* (says: (line: Line) => void) {
    const asked = yield* Deferred.make<Line>()
    const upstream = yield* rawUpstream((line) => {
      says(line)
      Deferred.doneUnsafe(asked, Effect.succeed(line))
    })
    const { a, ...tenancy } = yield* makeTenancy
    const { url } = yield* startProxy({ ...tenancy, a }, `http://127.0.0.1:${upstream.port}/v1`)
    return { url, key: a.secret, line: Deferred.await(asked) }
  })
  const json = head(200, "content-type: application/json", "transfer-encoding: chunked")
  const refusal = head(400, "content-type: application/json", "content-length: 1000")

  it.effect("is at most 64 MiB of a compaction", () =>
    Effect.gen(function* () {
      const blanks = chunk(Buffer.alloc(1024 * 1024, 32))
      const { key, line, url } = yield* against((line) => {
        line.write(json)
        let left = 100
        line.flood(() => (left-- > 0 ? blanks : undefined))
        line.write(lastChunk)
      })
      const answer = yield* ask(`${url}/responses/compact`, { key, body: { model: "m", input: "x" } })
      assert.strictEqual(answer.status, 502)
      assert.deepInclude(answer.json?.["error"], { type: "server_error", code: "upstream_protocol" })
      assert.strictEqual(answer.headers.get("x-should-retry"), "false")
      yield* Deferred.await((yield* line).closed)
    }),
  )

  it.effect("is as much of a refusal as came in ten seconds", () =>
    Effect.gen(function* () {
      const { key, line, url } = yield* against((line) => line.write(refusal, '{"error":'))
      const startedAt = yield* Clock.currentTimeMillis
      const answer = yield* driven(ask(`${url}/models`, { key }), Effect.asVoid(line))
      assert.strictEqual(answer.status, 400)
      assert.strictEqual(answer.text, '{"error":')
      assert.isAtLeast((yield* Clock.currentTimeMillis) - startedAt, 10_000)
      yield* Deferred.await((yield* line).closed)
    }),
  )

  it.effect("keeps a refusal's status although the upstream breaks off", () =>
    Effect.gen(function* () {
      const { key, url } = yield* against((line) => {
        line.write(refusal, '{"error":')
        line.end()
      })
      const answer = yield* ask(`${url}/models`, { key })
      assert.strictEqual(answer.status, 400)
      // The platform may drop what it has not handed on when the connection breaks.
      assert.include(["", '{"error":'], answer.text)
    }),
  )
})

describe("In keys mode a body gets around no check", () => {
  const escaped = (text: string) =>
    [...text].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")

  it.effect("by escapes, duplicate members, nesting or compression", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { requests, url: upstream } = yield* makeRecorder(() => '{"id":"resp_new","object":"response","output":[]}')
      yield* recordIds(tenancy, `key:${tenancy.a.id}`, ["theirs"])
      yield* recordIds(tenancy, `key:${tenancy.b.id}`, ["mine"])
      const { url } = yield* startProxy(tenancy, upstream, { transport: "http" })
      const unknown: ReadonlyArray<string> = [
        `{"model":"m","previous_response_id":"theirs"}`,
        `{"model":"m","${escaped("previous_response_id")}":"theirs"}`,
        `{"model":"m","previous\\u005fresponse_id":"${escaped("theirs")}"}`,
        `{"model":"m","\\u0063onversation":{"\\u0069d":"theirs"}}`,
        `{"model":"m","input":[{"t\\u0079pe":"item_reference","i\\u0064":"theirs"}]}`,
        `{"model":"m","input":[{"type":"item\\u005freference","id":"\\u0074heirs"}]}`,
        `{"model":"m","input":{"id":"theirs"}}`,
        `{"model":"m","input":[[{"type":"item_reference","id":"theirs"}]]}`,
        `{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"theirs"}]}]}`,
        `{"model":"m","previous_response_id":["theirs"]}`,
        `{"model":"m","previous_response_id":{"id":"theirs"}}`,
        `{"model":"m","conversation":["theirs"]}`,
        `{"model":"m","conversation":{"id":["theirs"]}}`,
        `{"model":"m","tools":[{"type":"x","container":{"id":"theirs"}}]}`,
        `{"model":"m","__proto__":{"id":"theirs"}}`,
        `{"model":"m","fileId":"theirs"}`,
        `{"model":"m","tools":[{"CONTAINERS":["theirs"]}]}`,
        `{"model":"m","fork_from":"theirs"}`,
        `{"model":"m","tools":[{"containers":{"theirs":{}}}]}`,
        `{"model":"m","input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{\\"id\\":\\"theirs\\"}"}]}`,
        `{"model":"m","input":"[{\\"type\\":\\"item_reference\\",\\"id\\":\\"${escaped("theirs").replaceAll("\\", "\\\\")}\\"}]"}`,
        `{"model":"m","metadata":{"x":"theirs"}}`,
        `{"model":"m","x":"https://a/v1/files/t%68eirs/content"}`,
        `{"model":"m","tools":[{"type":"code_interpreter","container":"cntr_of_nobody"}]}`,
        `{"model":"m","input":[{"type":"image_generation_call","id":"ig_of_nobody"}]}`,
      ]
      const duplicate: ReadonlyArray<string> = [
        `{"model":"m","input":[{"type":"item_reference","id":"mine","id":"theirs"}]}`,
        `{"model":"m","input":[{"type":"item_reference","id":"theirs","id":"mine"}]}`,
        `{"model":"m","input":[{"type":"item_reference","id":"mine","\\u0069d":"theirs"}]}`,
        `{"model":"m","input":[{"type":"message","type":"item_reference","id":"mine"}]}`,
        `{"model":"m","conversation":{"id":"mine","i\\u0064":"theirs"}}`,
        `{"model":"m","previous_response_id":"mine","previous_response_id":"theirs"}`,
        `{"model":"m","previous_response_id":"mine","previous\\u005fresponse_id":"theirs"}`,
        `{"model":"m","tools":[{"container":{"a":[{"id":"mine","id":"theirs"}]}}]}`,
        `{"model":"m","metadata":{"a":"1","a":"2"}}`,
      ]
      const key = tenancy.b.secret
      for (const path of ["responses", "responses/", "responses/compact"]) {
        for (const body of unknown) {
          const { status, text } = yield* ask(`${url}/${path}`, { key, body })
          assert.strictEqual(status, 404, `${path} ${body} ${text}`)
        }
        if (path === "responses/") continue
        for (const body of duplicate) {
          const answer = yield* ask(`${url}/${path}`, { key, body })
          const { code, status } = errorOf(answer)
          assert.deepStrictEqual({ status, code }, { status: 400, code: "duplicate_member" }, `${path} ${body}`)
        }
        for (const body of ["", "[]", "{", '{"model":"m"} x', `{"previous_response_id":"theirs"`]) {
          const asked = { key, method: "POST", headers: { "content-type": "application/json" }, body }
          assert.strictEqual((yield* ask(`${url}/${path}`, asked)).status, 400, `${path} ${body}`)
        }
        const body = Bun.gzipSync(utf8(unknown[0] ?? ""))
        const compressed = yield* ask(`${url}/${path}`, { key, headers: { "content-encoding": "gzip" }, body })
        assert.strictEqual(compressed.status, 404)
      }
      assert.lengthOf(requests, 0)

      for (const query of ["?x=theirs", "?t%68eirs", "?after=mine&x=theirs"]) {
        const turn = yield* ask(`${url}/responses${query}`, { key, body: { model: "m", input: "x" } })
        const compaction = yield* ask(`${url}/responses/compact${query}`, { key, body: { model: "m", input: "x" } })
        const listed = yield* ask(`${url}/responses/mine/input_items${query}`, { key })
        assert.deepStrictEqual([turn.status, compaction.status, listed.status], [404, 404, 404], query)
      }
      const headers = { "session-id": "theirs" }
      const named = yield* ask(`${url}/responses`, { key, headers, body: { model: "m", input: "x" } })
      assert.strictEqual(named.status, 404)
      assert.lengthOf(requests, 0)

      const own = `{"model":"m","previous\\u005fresponse_id":"mine"}`
      assert.strictEqual((yield* ask(`${url}/responses`, { key, body: own })).status, 200)
      assert.deepStrictEqual(
        requests.map(({ body }) => body),
        [own],
      )
    }),
  )
})

describe("In keys mode a path gets around no check", () => {
  it.effect("by encodings, slashes, dots, semicolons, case or a query; every path but a few is not there", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { requests, url: upstream } = yield* makeRecorder(() => '{"object":"list","data":[]}')
      yield* recordIds(tenancy, `key:${tenancy.a.id}`, ["resp_a"])
      yield* recordIds(tenancy, `key:${tenancy.b.id}`, ["resp_b"])
      const { url } = yield* startProxy(tenancy, upstream, { transport: "http" })
      const spellings = [
        "resp_a",
        "%72esp_a",
        "%72%65%73%70%5f%61",
        "%2572esp_a",
        "%252572esp_a",
        "resp_a/",
        "resp_a//",
        "/resp_a",
        "./resp_a",
        "x/../resp_a",
        "resp_b/../resp_a",
        "resp_b/..%2fresp_a",
        "resp_b%2f..%2fresp_a",
        "resp_b/%2e%2e/resp_a",
        "resp_b%2f%2e%2e%2fresp_a",
        "resp_b\\..\\resp_a",
        "resp_b%5c..%5cresp_a",
        "resp_a;",
        "resp_a;x=y",
        "resp_b;/../resp_a",
        "resp_a%3b",
        "resp_a%00",
        "resp_b%00resp_a",
        "resp_a%20",
        "resp_a%0a",
        "resp_b%0aresp_a",
        "RESP_A",
        "Resp_a",
        "resp_a?x=resp_b",
        "resp_a?/../resp_b",
        "resp_a?id=resp_b",
        "?id=resp_a",
        "?response_id=resp_a",
        "resp_a#resp_b",
        "resp_a%23",
        "resp_a%3f",
        "resp_a%",
        "resp_a%zz",
        "resp_b,resp_a",
        "resp_b%2cresp_a",
        "resp_b/resp_a",
        "resp_b/input_items/resp_a",
        "resp_b/input_items/../../resp_a",
        "resp_b/input_items%2f..%2f..%2fresp_a",
        "resp_b/input_items/",
        "resp_b/INPUT_ITEMS",
        "resp_b/other",
        "compact",
        "compact/resp_a",
      ]
      const targets = spellings.flatMap((spelling) => [`/v1/responses/${spelling}`, `/responses/${spelling}`])
      for (const prefix of ["/v1//responses", "//v1/responses", "/V1/responses", "/v1/RESPONSES", "/v1/v1/responses"]) {
        targets.push(`${prefix}/resp_a`, `${prefix}/resp_b`)
      }
      targets.push(
        "/%76%31/responses/resp_a",
        "/v1/%72esponses/resp_a",
        "/v1%2fresponses%2fresp_a",
        "/v1/models/../responses/resp_a",
        "/v1/models/..%2fresponses%2fresp_a",
        "/v1/models/%2e%2e%2fresponses%2fresp_a",
        "/v1/models/%252e%252e%252fresponses",
        "/v1/models/..;/responses",
        "/v1/models/x%2f..",
        "/v1/models/..%5cfiles",
        "/v1/models/x/y",
        "/v1/models/%",
        "/v1/models;x",
      )
      const others =
        "files containers batches vector_stores conversations conversations/conv_a chat/completions embeddings uploads " +
        "organization/api_keys fine_tuning/jobs assistants realtime "
      for (const name of others.split(" ")) {
        targets.push(`/v1/${name}`, `/${name}`)
      }
      // The root says who is there, and nothing of anybody.
      for (const target of targets.filter((target) => target !== "/")) {
        for (const method of ["GET", "DELETE"]) {
          const { status, text } = yield* askRaw(url, method, target, tenancy.b.secret)
          const isTurn = /^\/(v1\/)?responses\/\?/.test(target)
          // A fragment belongs into no request at all.
          assert.include(
            target.includes("#") ? [400, 404] : [isTurn ? 405 : 404],
            status,
            `${method} ${target} ${text}`,
          )
          assert.include(text, '"error":{"message":', `${method} ${target}`)
        }
        if (/^\/(v1\/)?responses\/(\?|compact$)/.test(target)) continue
        const { status, text } = yield* askRaw(url, "POST", target, tenancy.b.secret)
        assert.include(target.includes("#") ? [400, 404] : [404], status, `POST ${target} ${text}`)
      }
      for (const method of ["PUT", "PATCH", "POST", "DELETE", "HEAD", "OPTIONS"]) {
        for (const path of ["responses/resp_b", "models", "models/x", "responses/resp_b/input_items"]) {
          if (method === "DELETE" && path === "responses/resp_b") continue
          if (method === "HEAD" && path.startsWith("models")) continue
          const { status } = yield* askRaw(url, method, `/v1/${path}`, tenancy.b.secret)
          assert.strictEqual(status, 404, `${method} ${path}`)
        }
      }
      assert.deepStrictEqual(
        requests.map(({ method, path }) => `${method} ${path}`),
        [],
      )

      const allowed = [
        "GET /v1/responses/resp_b",
        "GET /v1/responses/%72esp_b",
        "GET /v1/responses/resp_b?include=x",
        "GET /v1/responses/resp_b/input_items?after=x",
        "POST /v1/responses/resp_b/cancel",
        "DELETE /v1/responses/resp_b",
        "GET /v1/models",
        "GET /v1/models/ft:gpt-5.5:org::x",
      ]
      for (const asked of allowed) {
        const [method = "", target = ""] = asked.split(" ")
        assert.strictEqual((yield* askRaw(url, method, target, tenancy.b.secret)).status, 200, asked)
      }
      assert.strictEqual((yield* askRaw(url, "GET", "/models", tenancy.b.secret)).status, 200)
      assert.deepStrictEqual(
        requests.map(({ method, path }) => `${method} ${path}`),
        [...allowed, "GET /v1/models"],
      )
      for (const { headers } of requests) assert.strictEqual(headers["authorization"], `Bearer ${upstreamKey}`)
    }),
  )
})

describe("Tenants of an upstream with a credential of its own", () => {
  it.effect("need no key of the upstream's besides, and are kept apart all the same", () =>
    Effect.gen(function* () {
      const { a, b, keysFile } = yield* makeTenancy
      const simulator = yield* Simulator
      const credential = { _tag: "Fixed", apiKey: Redacted.make(upstreamKey) } as const
      const upstreams = [{ name: "own", url: simulator.url, models: [], credential }]
      const layerProxy = TestProxy.layerProxy({ auth: "keys", keysFile, upstreams })
      const { url } = Context.get(yield* Layer.build(layerProxy), TestProxy)
      const first = yield* ask(`${url}/responses`, { key: a.secret, body: turnOf({ input: [user("Begin.")] }) })
      assert.strictEqual(first.status, 200, first.text)
      const { items, response, result } = madeBy(first)
      const whole = turnOf({ input: [user("Begin."), ...items, result, user("And then?")] })
      assert.strictEqual((yield* ask(`${url}/responses`, { key: b.secret, body: whole })).status, 404)
      const next = yield* ask(`${url}/responses`, { key: a.secret, body: whole })
      assert.strictEqual(next.headers.get("x-respool-input"), "suffix", next.text)
      assert.strictEqual((yield* ask(`${url}/responses/${response}`, { key: b.secret })).status, 404)
      assert.strictEqual((yield* ask(`${url}/responses/${response}`, { key: a.secret })).status, 200)
      assert.strictEqual((yield* ask(`${url}/responses`, { key: "test-key-z", body: whole })).status, 401)
    }).pipe(Effect.provide(strict)),
  )
})

describe("A key that is revoked", () => {
  it.effect("is refused, its connections go, and nobody else's do", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const { counters, url: upstreamUrl } = yield* Simulator
      const { url } = yield* startProxy(tenancy, upstreamUrl)
      const first = turnOf({ input: [user("Begin.")] })
      const asA = yield* ask(`${url}/responses`, { key: tenancy.a.secret, body: first })
      const asB = yield* ask(`${url}/responses`, { key: tenancy.b.secret, body: first })
      assert.strictEqual(asA.status, 200, asA.text)
      assert.strictEqual(counters.openSockets, 2)
      yield* revokeKey(tenancy, tenancy.a)
      yield* TestClock.adjust("3 seconds")
      yield* eventually(
        () => counters.openSockets === 1,
        () => `${counters.openSockets} sockets are open`,
      )
      assert.strictEqual((yield* ask(`${url}/responses`, { key: tenancy.a.secret, body: first })).status, 401)
      const { items, result } = madeBy(asB)
      const next = turnOf({ input: [user("Begin."), ...items, result, user("And then?")] })
      const continued = yield* ask(`${url}/responses`, { key: tenancy.b.secret, body: next })
      assert.strictEqual(continued.status, 200, continued.text)
      assert.strictEqual(continued.headers.get("x-respool-input"), "suffix")
    }).pipe(Effect.provide(strict)),
  )

  it.effect("while its turn runs closes the connection with the turn, however far the next sweep is", () =>
    Effect.gen(function* () {
      const tenancy = yield* makeTenancy
      const simulator = yield* Simulator
      const { counters } = simulator
      const { url } = yield* startProxy(tenancy, simulator.url, { pingInterval: 3_600_000 })
      yield* simulator.failNext({ _tag: "Hold", at: 3 })
      const asked = { key: tenancy.a.secret, body: turnOf({ input: [user("Begin.")] }) }
      const turn = yield* Effect.forkScoped(ask(`${url}/responses`, asked))
      yield* simulator.until(({ turns }) => turns[0]?.status === "running")
      yield* revokeKey(tenancy, tenancy.a)
      // Until the file was read anew, which takes real time.
      const isRevoked = Effect.map(
        ask(`${url}/responses/resp_x`, { key: tenancy.a.secret }),
        ({ status }) => status === 401,
      )
      for (let second = 0; second < 60 && !(yield* isRevoked); second++) yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* ask(`${url}/responses`, asked)).status, 401)
      assert.strictEqual(counters.openSockets, 1)
      yield* simulator.release
      assert.strictEqual((yield* Fiber.join(turn)).status, 200)
      yield* eventually(
        () => counters.openSockets === 0,
        () => `${counters.openSockets} sockets are open`,
      )
    }).pipe(Effect.provide(strict)),
  )
})
