import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { TestClock } from "effect/testing"
import * as BunServer from "../../src/downstream/http/BunServer.ts"
import * as Routes from "../../src/downstream/http/Routes.ts"
import * as Server from "../../src/Server.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import { Dialer } from "../../src/upstream/dialer/Dialer.ts"
import type { Asked } from "../support/Ask.ts"
import type { Manner } from "../support/EchoingUpstream.ts"
import { EchoingUpstream } from "../support/EchoingUpstream.ts"
import { makeTenancy } from "../support/Tenancy.ts"
import { Watched } from "../support/Watched.ts"
import { open } from "../support/Ask.ts"
import { reading } from "../support/Reading.ts"

/** Each spells differently once it is encoded. */
const clientsKey = "test-key-client/a+b=="
const upstreamsKey = "test-key-upstream/c+d=="

/** A credential as it may be written somewhere, and in the encodings that logs, URLs and headers use. */
const formsOf = (credential: string): ReadonlyArray<string> => {
  const texts = [credential, `Bearer ${credential}`, `:${credential}`]
  return [
    credential,
    encodeURIComponent(credential),
    JSON.stringify(credential).slice(1, -1),
    credential.replaceAll("/", "\\/"),
    Buffer.from(credential).toString("hex"),
    ...texts.flatMap((text) => [
      Buffer.from(text).toString("base64").replace(/=+$/, ""),
      Buffer.from(text).toString("base64url"),
    ]),
  ]
}

const holdsAny = (text: string, credentials: ReadonlyArray<string>) =>
  credentials.flatMap(formsOf).some((form) => text.toLowerCase().includes(form.toLowerCase()))

/** Of each kind, the texts that hold a credential. */
const leaksIn = (collected: Readonly<Record<string, ReadonlyArray<string>>>, credentials: ReadonlyArray<string>) =>
  Object.entries(collected).flatMap(([kind, texts]) => {
    assert.isAbove(texts.length, 0, `no ${kind} were collected`)
    return texts
      .filter((text) => holdsAny(text, credentials))
      .map((text) => {
        const [first, ...lines] = text.split("\n")
        return [`${kind}: ${first}`, ...lines.filter((line) => holdsAny(line, credentials))].join("\n")
      })
  })

/** Head and body as the client gets them; a body that breaks off is what came of it. */
const answerTo = (url: string, asked: Asked) =>
  Effect.gen(function* () {
    const answer = yield* open(url, asked)
    const { text } = yield* reading(answer).ending
    const head = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n")
    return { status: answer.status, text: `${answer.status} ${answer.statusText}\n${head}\n\n${text}` }
  })

const turn = (stream: boolean, key: string): Asked => ({
  key,
  headers: { "session-id": "the-session" },
  body: { model: "gpt-5.5", stream, input: [{ role: "user", content: "Hello" }] },
})

const manners: ReadonlyArray<Partial<Manner>> = [
  {},
  { socket: "flat error" },
  { socket: "error" },
  { socket: "error after content" },
  { socket: "failed" },
  { socket: "close" },
  { socket: "close after content" },
  { socket: "no event" },
  { upgrade: 401 },
  { upgrade: 403 },
  { upgrade: 429 },
  { upgrade: 500 },
  { upgrade: 302 },
  { upgrade: 404, http: 401 },
  { upgrade: 404, http: 429 },
  { upgrade: 404, http: 500 },
  { upgrade: 404, http: 302 },
  { upgrade: 404, http: "error event" },
  { upgrade: 404, http: "no response" },
  { upgrade: 404, http: "cut" },
]

const passedThrough = ["answers", 401, 429, 500, 302, "cut"] as const

/** Everything that a caller with this key can be told, in the order of the manners. Gives the answers. */
const run = Effect.fnUntraced(function* (key: string) {
  const { url } = yield* Watched
  const upstream = yield* EchoingUpstream
  const answers: Array<{ readonly status: number; readonly text: string }> = []
  const ask = Effect.fnUntraced(function* (path: string, asked: Asked) {
    answers.push(yield* answerTo(`${url}${path}`, asked))
  })
  for (const manner of manners) {
    yield* upstream.behave(manner)
    for (const stream of [true, false]) yield* ask("/responses", turn(stream, key))
    // Whatever the proxy has learnt to avoid, it tries again.
    yield* TestClock.adjust("6 minutes")
  }
  for (const http of passedThrough) {
    yield* upstream.behave({ http })
    yield* ask("/models", { key })
    yield* ask("/responses/compact", turn(false, key))
  }
  yield* upstream.behave({ socket: "silence" })
  for (const stream of [true, false]) {
    const before = upstream.count()
    const silent = yield* Effect.forkChild(ask("/responses", turn(stream, key)))
    yield* upstream.heard(before + 1)
    yield* TestClock.adjust("6 minutes")
    yield* Fiber.join(silent)
  }
  yield* upstream.behave({})
  yield* ask("/responses", { key, body: "{" })
  yield* ask("/responses", { key, body: `{"model":"a","model":"b"}` })
  yield* ask("/responses", { key, body: `"${"x".repeat(5_000)}"` })
  yield* ask("/responses", { key, method: "PATCH" })
  yield* ask("/nothing/here", { key })
  yield* ask("/responses", { key: `${key} and more`, body: {} })
  yield* ask("/responses", { key: `${key}x`, body: {} })
  return answers
})

/** Nothing that the proxy lets out holds a credential; `answers` are what its clients got. */
const assertClean = Effect.fnUntraced(function* (
  credentials: ReadonlyArray<string>,
  answers?: ReadonlyArray<{ readonly text: string }>,
) {
  const { logs, metrics, spans } = yield* Watched
  const collected = {
    logs,
    spans: spans(),
    metrics: yield* metrics,
    ...(answers === undefined ? {} : { answers: answers.map(({ text }) => text) }),
  }
  assert.deepStrictEqual(leaksIn(collected, credentials), [])
})

const formats = ["text", "json"] as const

const settings: Partial<SettingsValues> = { maxBody: 4_096, forwardHeaders: ["session-id"] }

const watched = (more: Partial<SettingsValues>) =>
  Layer.unwrap(
    Effect.map(EchoingUpstream, ({ url }) => Watched.layer({ ...settings, upstreamUrl: url, ...more })),
  ).pipe(Layer.provideMerge(EchoingUpstream.layer))

describe("A credential that the caller brings", () => {
  for (const logFormat of formats) {
    it.effect(`is in no log (${logFormat}), span, metric or error, even where the upstream repeats it`, () =>
      Effect.gen(function* () {
        const upstream = yield* EchoingUpstream
        const answers = yield* run(clientsKey)
        assert.isAbove(upstream.credentials.filter((value) => value === `Bearer ${clientsKey}`).length, 20)
        assert.sameMembers([...new Set(answers.map(({ status }) => status))].slice(0, 2), [200, 401])
        // What the upstream says of a caller's own credential is between the two of them.
        assert.isTrue(answers.some(({ text }) => holdsAny(text, [clientsKey])))
        yield* assertClean([clientsKey])
      }).pipe(Effect.provide(watched({ logFormat }))),
    )
  }

  it.effect("is in no answer that is the proxy's own", () =>
    Effect.gen(function* () {
      const { url } = yield* Watched
      const answers = [
        yield* answerTo(`${url}/responses`, turn(true, clientsKey)),
        yield* answerTo(`${url}/responses`, turn(false, clientsKey)),
        yield* answerTo(`${url}/models`, { key: clientsKey }),
        yield* answerTo(`${url}/responses`, { key: clientsKey, body: "{" }),
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [502, 502, 502, 400],
      )
      yield* assertClean([clientsKey], answers)
    }).pipe(Effect.provide(Watched.layer({ upstreamUrl: "http://127.0.0.1:1/v1" }))),
  )

  it.effect("is in nothing that tells of a defect", () =>
    Effect.gen(function* () {
      const { logs, url } = yield* Watched
      const answers = [
        yield* answerTo(`${url}/responses`, turn(true, clientsKey)),
        yield* answerTo(`${url}/responses`, turn(false, clientsKey)),
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [500, 500],
      )
      assert.include(logs.join("\n"), "a defect of the dialer")
      yield* assertClean([clientsKey], answers)
    }).pipe(Effect.provide(Watched.layer({ upstreamUrl: "http://127.0.0.1:1/v1" }, defective))),
  )
})

describe("With keys of the proxy's own", () => {
  /** A run with a key of its own; then `check`, with every credential there is. */
  const withKeys = Effect.fnUntraced(function* <E>(
    logFormat: (typeof formats)[number],
    check: (
      answers: Effect.Success<ReturnType<typeof run>>,
      credentials: ReadonlyArray<string>,
    ) => Effect.Effect<void, E, Watched>,
  ) {
    const { a, folder, keysFile } = yield* makeTenancy
    yield* Effect.gen(function* () {
      const upstream = yield* EchoingUpstream
      const answers = yield* run(a.secret)
      assert.isAbove(upstream.credentials.length, 20)
      assert.deepStrictEqual([...new Set(upstream.credentials)], [`Bearer ${upstreamsKey}`])
      const hash = new Bun.CryptoHasher("sha256").update(a.secret).digest("hex")
      yield* check(answers, [upstreamsKey, a.secret, a.secret.slice(-43), hash])
    }).pipe(Effect.provide(watched({ logFormat, auth: "keys", keysFile, upstreamApiKey: Redacted.make(upstreamsKey) })))
    return folder
  })

  for (const logFormat of formats) {
    it.effect(`neither the caller's nor the upstream's is in any log (${logFormat}), span, metric or error`, () =>
      withKeys(logFormat, (_, credentials) => assertClean(credentials)),
    )
  }

  it.effect("neither is in any answer, even where the upstream repeats the one it was sent", () =>
    withKeys("text", (answers, credentials) => assertClean(credentials, answers)),
  )

  it.effect("neither is in any file", () =>
    Effect.gen(function* () {
      const secrets: Array<string> = []
      const folder = yield* withKeys("text", (_, [upstream = "", own = ""]) =>
        Effect.sync(() => void secrets.push(upstream, own, own.slice(-43))),
      )
      const names = [...new Bun.Glob("**/*").scanSync({ cwd: folder, dot: true })]
      const files = yield* Effect.promise(() => Promise.all(names.map((name) => Bun.file(`${folder}/${name}`).text())))
      assert.include(names, "respool.keys.json")
      assert.deepStrictEqual(leaksIn({ files: [...names, ...files] }, secrets), [])
    }),
  )
})

/** The proxy in front of a dialer that is broken. */
const defective: typeof Server.layer = HttpRouter.serve(Layer.merge(Server.layerRoutes, Routes.layerNotFound), {
  disableLogger: true,
  disableListenLog: true,
}).pipe(
  Layer.provide(Server.layerAuth),
  Layer.provideMerge(Server.layerExecutor),
  Layer.provide(Layer.succeed(Dialer, { dial: () => Effect.die(new Error("a defect of the dialer")) })),
  Layer.provideMerge(BunServer.layer({ hostname: "127.0.0.1", port: 0 })),
)
