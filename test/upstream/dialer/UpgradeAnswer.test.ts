import { assert, describe, it } from "@effect/vitest"
import { maxAnswerBody } from "../../../src/upstream/dialer/Dialer.ts"
import type { Answered } from "../../../src/upstream/dialer/UpgradeAnswer.ts"
import { maxHead, maxHeaders, UpgradeAnswer } from "../../../src/upstream/dialer/UpgradeAnswer.ts"
import { acceptFor, upgradeRequest } from "../../../src/upstream/dialer/UpgradeRequest.ts"

const key = "dGhlIHNhbXBsZSBub25jZQ=="

const switching = (...lines: ReadonlyArray<string>) =>
  [
    "HTTP/1.1 101 Ok",
    "Upgrade: WebSocket",
    "Connection: keep-alive, upgrade",
    `Sec-WebSocket-Accept: ${acceptFor(key)}`,
    ...lines,
    "",
    "",
  ].join("\r\n")

/** What comes of an answer in pieces of `size` bytes that ends afterwards, and how much of it was read. */
const readIn = (bytes: string, size: number) => {
  const all = Buffer.from(bytes, "latin1")
  const answer = new UpgradeAnswer(key)
  for (let at = 0; at < all.length; at += size) {
    const answered = answer.read(Buffer.from(all.subarray(at, at + size)))
    if (answered !== undefined) return { answered, settled: true }
  }
  return { answered: answer.end(), settled: false }
}

const summary = (answered: Answered) =>
  answered._tag === "Switched" ? "switched" : (answered.error.answer?.body ?? answered.error.reason)

/** The same in pieces of every size. */
const read = (bytes: string, sizes: ReadonlyArray<number> = [1, 2, 7, 100_000]) => {
  const all = sizes.map((size) => readIn(bytes, size))
  const [first] = all
  assert.isDefined(first)
  for (const one of all) {
    assert.deepStrictEqual([summary(one.answered), one.settled], [summary(first.answered), first.settled])
  }
  return { ...first, summary: summary(first.answered) }
}

describe("UpgradeAnswer", () => {
  it("gives the example of RFC 6455 its accept key", () => {
    assert.strictEqual(acceptFor(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
  })

  it("switches, and gives back what came behind the head", () => {
    assert.strictEqual(read(switching()).summary, "switched")
    const { answered } = readIn(`HTTP/1.1 103 Hints\r\nlink: a\r\n\r\n${switching("X-A: 1", "x-a:2 ")}rest`, 100_000)
    assert.isTrue(answered._tag === "Switched" && answered.rest.toString() === "rest")
    assert.isTrue(answered._tag === "Switched" && answered.headers["x-a"] === "1, 2")
  })

  const broken: ReadonlyArray<readonly [string, string]> = [
    ["HTTP/1.0", switching().replace("1.1", "1.0")],
    ["another version", switching().replace("HTTP/1.1", "HTTP/2.0")],
    ["another protocol", switching().replace("WebSocket", "h2c")],
    ["no upgrade", switching().replace("Upgrade: WebSocket\r\n", "")],
    ["no connection", switching().replace(/Connection: .*\r\n/, "")],
    ["another connection", switching().replace("keep-alive, upgrade", "no-upgrade")],
    ["a wrong key", switching().replace(acceptFor(key), acceptFor("x"))],
    ["a key in another case", switching().replace(acceptFor(key), acceptFor(key).toLowerCase())],
    ["two keys", switching(`sec-websocket-accept: ${acceptFor(key)}`)],
    ["an extension", switching("Sec-WebSocket-Extensions: permessage-deflate")],
    ["a subprotocol", switching("Sec-WebSocket-Protocol: a")],
    ["a folded header", switching("x: a", " b")],
    ["a space before the colon", switching("x : a")],
    ["a bare line feed", switching("x: a\ny: b")],
    ["a bare carriage return", switching("x: a\ry: b")],
    ["a zero byte", switching("x: \u0000")],
    ["a header without a name", switching(": a")],
    ["a header without a colon", switching("abc")],
    ["a status of four digits", "HTTP/1.1 1010 Ok\r\n\r\n"],
    ["a status in the two hundreds", "HTTP/1.1 200 Ok\r\ncontent-length: 9\r\n\r\n"],
    ["too many headers", switching(...Array.from({ length: maxHeaders - 2 }, () => "x: y"))],
    ["too long a head", switching(`x: ${"y".repeat(maxHead)}`)],
    ["too many interim heads", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)],
  ]
  for (const [what, answer] of broken) {
    it(`fails at once on ${what}`, () => {
      const { settled, summary } = read(answer, [1, 1000, 1_000_000])
      assert.deepStrictEqual([summary, settled], ["Unreachable", true])
    })
  }

  it("takes as many headers as the bound", () => {
    assert.strictEqual(read(switching(...Array.from({ length: maxHeaders - 3 }, () => "x: y"))).summary, "switched")
  })

  const bodies: ReadonlyArray<readonly [what: string, answer: string, body: string, settled: boolean]> = [
    ["of a length", "content-length: 3\r\n\r\nabcdef", "abc", true],
    ["of no length", "content-length: 0\r\n\r\n", "", true],
    ["until the end", "\r\nabc", "abc", false],
    ["that breaks off", "content-length: 9\r\n\r\nabc", "abc", false],
    ["with a length that is none", "content-length: 3, 3\r\n\r\nabc", "abc", false],
    [
      "in chunks",
      "transfer-encoding: gzip, Chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nt: x\r\n\r\n",
      "abc0123456789",
      true,
    ],
    [
      "in chunks and of a length",
      "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      "abc",
      true,
    ],
    ["in chunks that break off", "transfer-encoding: chunked\r\n\r\n5\r\nabc", "abc", false],
    ["in a chunk longer than it says", "transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n1\r\nz\r\n0\r\n\r\n", "ab", true],
    ["in a chunk of no size", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\nxyz\r\n", "ab", true],
    ["with too long a line of a chunk", `transfer-encoding: chunked\r\n\r\n2;${"x".repeat(2000)}`, "", true],
    ["in another coding", "transfer-encoding: gzip\r\ncontent-length: 1\r\n\r\nabc", "abc", false],
    ["of characters", "content-length: 4\r\n\r\n\xf0\x9f\x9c\x82", "🜂", true],
  ]
  for (const [what, answer, body, settled] of bodies) {
    it(`gives a refusal's body ${what}`, () => {
      const got = read(`HTTP/1.1 401 No\r\n${answer}`)
      assert.deepStrictEqual([got.summary, got.settled], [body, settled])
    })
  }

  it("keeps a bounded part of a body", () => {
    for (const head of ["", "content-length: 999999999\r\n", "transfer-encoding: chunked\r\n"]) {
      const start = head.startsWith("t") ? "fffffff\r\n" : ""
      const got = read(`HTTP/1.1 500 No\r\n${head}\r\n${start}${"z".repeat(2 * maxAnswerBody)}`, [999, 1_000_000])
      assert.deepStrictEqual([got.summary.length, got.settled], [maxAnswerBody, true])
    }
  })
})

describe("upgradeRequest", () => {
  const headers = { authorization: "Bearer test-key-a" }
  const first = (url: string) => upgradeRequest(url, headers, key)

  it("asks for the path and query of the URL, of its host", () => {
    const { head, ...where } = first("ws://example.test/v1/responses?a=b%20c")
    assert.deepStrictEqual(where, { hostname: "example.test", port: 80, secure: false })
    assert.deepStrictEqual(head.split("\r\n"), [
      "GET /v1/responses?a=b%20c HTTP/1.1",
      "host: example.test",
      "connection: Upgrade",
      "upgrade: websocket",
      "sec-websocket-version: 13",
      `sec-websocket-key: ${key}`,
      "authorization: Bearer test-key-a",
      "",
      "",
    ])
    assert.include(first("ws://example.test").head, "GET / HTTP/1.1\r\n")
  })

  it("knows default ports and IPv6", () => {
    const cases: ReadonlyArray<readonly [url: string, hostname: string, port: number, host: string]> = [
      ["wss://example.test/", "example.test", 443, "example.test"],
      ["wss://example.test:443/", "example.test", 443, "example.test"],
      ["wss://example.test:80/", "example.test", 80, "example.test:80"],
      ["ws://127.0.0.1:8080/", "127.0.0.1", 8080, "127.0.0.1:8080"],
      ["ws://[::1]/", "::1", 80, "[::1]"],
      ["ws://[::1]:9/", "::1", 9, "[::1]:9"],
    ]
    for (const [url, hostname, port, host] of cases) {
      const request = first(url)
      assert.deepStrictEqual([request.hostname, request.port], [hostname, port])
      assert.include(request.head, `\r\nhost: ${host}\r\n`)
    }
  })

  it("keeps the handshake's own headers, and lets the host be named", () => {
    const theirs = {
      Host: "other.test",
      Connection: "close",
      UPGRADE: "h2c",
      "Sec-WebSocket-Key": "a",
      "sec-websocket-protocol": "b",
      "Sec-WebSocket-Extensions": "permessage-deflate",
      "content-length": "5",
      "Transfer-Encoding": "chunked",
      expect: "100-continue",
      "x-other": "ümlaut\tand tab",
    }
    const { head } = upgradeRequest("ws://example.test/", theirs, key)
    const names = head
      .split("\r\n")
      .slice(1, -2)
      .map((line) => line.split(":")[0]?.toLowerCase() ?? "")
    assert.deepStrictEqual(names.sort(), [
      "connection",
      "host",
      "sec-websocket-key",
      "sec-websocket-version",
      "upgrade",
      "x-other",
    ])
    assert.include(head, "Host: other.test\r\n")
    assert.include(head, "connection: Upgrade\r\n")
  })

  it("refuses a header that could end its line, and tells nothing of its value", () => {
    const bad: ReadonlyArray<readonly [name: string, value: string]> = [
      ["x", "test-key-a\r\ny: z"],
      ["x", "test-key-a\n"],
      ["x", "test-key-a\r"],
      ["x", "test-key-a\u0000"],
      ["x", "test-key-a\u010d\u010a"],
      ["x y", "test-key-a"],
      ["x:", "test-key-a"],
      ["x\r\ny", "test-key-a"],
      ["", "test-key-a"],
    ]
    for (const [name, value] of bad) {
      const made = () => upgradeRequest("ws://example.test/", { [name]: value }, key)
      assert.throws(made, /^(?!.*test-key-a)/s)
    }
  })
})
