import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import { appCredential, callerCredential } from "../../src/turn/Caller.ts"
import { redactionOf } from "../../src/turn/Redaction.ts"
import { TurnError } from "../../src/turn/TurnError.ts"

const secret = 'sk-ab/c+d"e'
const ofApp = appCredential(Redacted.make(`Bearer ${secret}`))

const redaction = () => {
  const found = redactionOf(ofApp)
  if (found === undefined) throw new Error("nothing is redacted")
  return found
}

const spellings = {
  "as it is": secret,
  "in JSON": JSON.stringify(secret).slice(1, -1),
  "in JSON with escaped slashes": JSON.stringify(secret).slice(1, -1).replaceAll("/", "\\/"),
  "in a URL": encodeURIComponent(secret),
  "in base64": Buffer.from(secret).toString("base64"),
  "in base64url": Buffer.from(secret).toString("base64url"),
}

/** The body of an answer that comes in these pieces, as the caller reads it. */
const read = (pieces: ReadonlyArray<Uint8Array>) =>
  Effect.gen(function* () {
    const answer = yield* redaction().answer({ status: 200, headers: {}, body: Stream.fromIterable(pieces) })
    return Buffer.concat(yield* Stream.runCollect(answer.body)).toString()
  })

describe("redaction", () => {
  it("leaves everything as it is for a caller that brought the credential itself, and where there is none", () => {
    assert.isUndefined(redactionOf(callerCredential(`Bearer ${secret}`, "id")))
    assert.isUndefined(redactionOf(undefined))
  })

  for (const [how, spelling] of Object.entries(spellings)) {
    it.effect(`takes the credential out of texts, headers, errors, events and bodies, ${how}`, () =>
      Effect.gen(function* () {
        const said = `before ${spelling} after ${spelling}`
        const shown = "before [redacted] after [redacted]"
        const { error, sink, text } = redaction()
        assert.strictEqual(text(said), shown)
        const answer = { status: 401, headers: { "x-echo": said }, body: said }
        const failure = error(
          new TurnError({ reason: "upstream_error", delivery: "Rejected", message: "no", event: said, answer }),
        )
        assert.deepStrictEqual(
          [failure.event, failure.answer],
          [shown, { status: 401, headers: { "x-echo": shown }, body: shown }],
        )
        const heard: Array<unknown> = []
        const told = sink({
          route: () => {},
          head: (headers) => heard.push(headers),
          event: (_, event) => heard.push(event) > 0,
          onDrain: () => {},
        })
        told.head({ "x-echo": said })
        told.event("response.output_text.delta", said)
        assert.deepStrictEqual(heard, [{ "x-echo": shown }, shown])
        assert.strictEqual(yield* read([Buffer.from(said)]), shown)
      }),
    )
  }

  it.effect("finds a credential in a body wherever the body is cut", () =>
    Effect.gen(function* () {
      const said = Buffer.from(`{"a":"${secret} ${secret}${secret}","b":"${secret.slice(0, -1)}"}`)
      const shown = `{"a":"[redacted] [redacted][redacted]","b":"${secret.slice(0, -1)}"}`
      for (let first = 0; first <= said.length; first++) {
        for (let second = first; second <= said.length; second += 3) {
          const pieces = [said.subarray(0, first), said.subarray(first, second), said.subarray(second)]
          assert.strictEqual(yield* read(pieces), shown, `${first} ${second}`)
        }
      }
      assert.strictEqual(yield* read([...said].map((byte) => Uint8Array.of(byte))), shown)
    }),
  )

  it.effect("holds back of a body only what may be the beginning of the credential", () =>
    Effect.gen(function* () {
      const pieces = ["data: {}\n\n", "data: sk-a", "x\n\n", "data: sk-"].map((piece) => Buffer.from(piece))
      const answer = yield* redaction().answer({ status: 200, headers: {}, body: Stream.fromIterable(pieces) })
      const parts = (yield* Stream.runCollect(answer.body)).map((part) => Buffer.from(part).toString())
      assert.deepStrictEqual(parts, ["data: {}\n\n", "data: ", "sk-ax\n\n", "data: ", "sk-"])
    }),
  )
})
