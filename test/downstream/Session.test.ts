import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Headers } from "effect/http"
import { Session, sessionKey, sessionName } from "../../src/downstream/Session.ts"

describe("sessionName", () => {
  const sources = {
    "session-id": "a",
    session_id: "b",
    conversation_id: "c",
    "x-session-affinity": "d",
    "x-chat": "e",
  }

  it("takes the first source that is present, in the documented order", () => {
    const headers: Record<string, string> = { ...sources }
    const names: Array<string | undefined> = []
    for (const header of Object.keys(sources)) {
      names.push(sessionName(headers, "f", "x-chat"))
      delete headers[header]
    }
    names.push(sessionName(headers, "f", "x-chat"), sessionName(headers, undefined, "x-chat"))
    assert.deepStrictEqual(names, ["a", "b", "c", "d", "e", "f", undefined])
  })

  it("treats a blank source as absent and ignores blanks around a name", () => {
    assert.strictEqual(sessionName({ "session-id": " \t", session_id: "", conversation_id: " c " }, "f"), "c")
    assert.strictEqual(sessionName({ "session-id": " " }, "  "), undefined)
    assert.strictEqual(sessionName({ "session-id": " " }, " f "), "f")
  })

  it("adds the thread only where it differs from the session", () => {
    assert.strictEqual(sessionName({ "session-id": "a", "thread-id": "a" }, undefined), "a")
    assert.strictEqual(sessionName({ "session-id": "a", "thread-id": " " }, undefined), "a")
    const first = sessionName({ "session-id": "a", "thread-id": "t1" }, undefined)
    const second = sessionName({ "session-id": "a", "thread-id": "t2" }, undefined)
    assert.strictEqual(new Set([first, second, "a", "t1", "t2"]).size, 5)
  })

  it("keeps session and thread apart whatever they contain", () => {
    const one = sessionName({ "session-id": "a,b", "thread-id": "c" }, undefined)
    const other = sessionName({ "session-id": "a", "thread-id": "b,c" }, undefined)
    assert.notStrictEqual(one, other)
  })

  it("does not take a thread alone for a session", () => {
    assert.strictEqual(sessionName({ "thread-id": "t" }, undefined), undefined)
    assert.strictEqual(sessionName({ "thread-id": "t" }, "f"), "f")
  })

  it("reads a configured header in any case, and no header where none is configured", () => {
    assert.strictEqual(sessionName({ "x-chat": "e" }, undefined, "X-Chat"), "e")
    assert.strictEqual(sessionName({ "x-chat": "e" }, undefined), undefined)
  })

  it("keeps 256 characters and replaces a longer name by a digest that still tells names apart", () => {
    const longest = "x".repeat(256)
    assert.strictEqual(sessionName({}, longest), longest)
    const one = sessionName({}, `${longest}1`)
    assert.match(one ?? "", /^sha256:[0-9a-f]{64}$/)
    assert.strictEqual(sessionName({ "session-id": `${longest}1` }, undefined), one)
    assert.notStrictEqual(sessionName({}, `${longest}2`), one)
    const joined = sessionName({ "session-id": "s".repeat(200), "thread-id": "t".repeat(200) }, undefined)
    assert.match(joined ?? "", /^sha256:/)
  })
})

describe("sessionKey", () => {
  it("keeps scope and name apart whatever they contain", () => {
    assert.notStrictEqual(sessionKey("user:a", "b"), sessionKey("user:", "ab"))
    assert.notStrictEqual(sessionKey("a:b", "c"), sessionKey("a", "b:c"))
    assert.notStrictEqual(sessionKey("1", "1:x"), sessionKey("11", ":x"))
    assert.notStrictEqual(sessionKey("", "1:ab"), sessionKey("a", "b"))
  })

  it.prop("is equal only for equal pairs", [Schema.String, Schema.String, Schema.Finite], ([scope, name, cut]) => {
    const joined = scope + name
    const at = Math.abs(Math.trunc(cut)) % (joined.length + 1)
    const same = at === scope.length
    assert.strictEqual(sessionKey(joined.slice(0, at), joined.slice(at)) === sessionKey(scope, name), same)
  })
})

describe("Session", () => {
  it.effect("reads the configured header of a request's headers", () =>
    Effect.gen(function* () {
      const session = yield* Session
      assert.strictEqual(session.name(Headers.fromInput({ "X-Chat": "e" }), "f"), "e")
      assert.strictEqual(session.name(Headers.empty, "f"), "f")
      assert.strictEqual(session.name(Headers.empty, undefined), undefined)
    }).pipe(Effect.provide(Session.layer({ header: "X-Chat" }))),
  )
})
