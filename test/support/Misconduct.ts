/**
 * Everything an upstream does on the wire that it must not, and what may look so and is right.
 */
import { Effect } from "effect"
import type { Conduct, Peer } from "./HostileUpstream.ts"
import { forever } from "./HostileUpstream.ts"
import { closing, frame, text } from "./Frames.ts"

export const answer = (status: string, ...lines: ReadonlyArray<string>) =>
  `HTTP/1.1 ${[status, ...lines].join("\r\n")}\r\n\r\n`

const says =
  (bytes: string): Conduct["upgrade"] =>
  ({ write }) =>
    write(bytes)

const endsWith =
  (bytes: string): Conduct["upgrade"] =>
  ({ socket }) =>
    socket.end(bytes)

const withAnswer =
  (...frames: ReadonlyArray<Uint8Array>): Conduct["upgrade"] =>
  ({ switching, write }) =>
    write(switching(), ...frames)

/** What goes wrong before a turn can have run, so that the answer comes over HTTP, and the reason named. */
export const upgrades: ReadonlyArray<
  readonly [what: string, upgrade: Conduct["upgrade"], reason: string, waits?: "15 seconds"]
> = [
  ["closes at once", ({ socket }) => socket.end(), "dial_failed"],
  ["resets the connection", ({ socket }) => socket.resetAndDestroy(), "dial_failed"],
  ["answers nothing", () => {}, "dial_timeout", "15 seconds"],
  [
    "stops in the middle of the head",
    ({ switching, write }) => write(switching().slice(0, -9)),
    "dial_timeout",
    "15 seconds",
  ],
  [
    "hangs up in the middle of the head",
    ({ socket, switching }) => socket.end(switching().slice(0, -9)),
    "dial_failed",
  ],
  [
    "writes its answer a byte a second",
    (peer) =>
      peer.fork(
        Effect.forEach(
          peer.switching(),
          (byte) =>
            Effect.andThen(
              Effect.sleep("1 second"),
              Effect.sync(() => peer.write(byte)),
            ),
          {
            discard: true,
          },
        ),
      ),
    "dial_timeout",
    "15 seconds",
  ],
  [
    "gives a wrong accept key",
    ({ switching, write }) => write(switching().replace(/accept: .*/, "accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=")),
    "dial_failed",
  ],
  [
    "gives no accept key",
    ({ switching, write }) => write(switching().replace(/sec-websocket-accept: .*\r\n/, "")),
    "dial_failed",
  ],
  [
    "leaves the upgrade header out",
    ({ switching, write }) => write(switching().replace("upgrade: websocket\r\n", "")),
    "dial_failed",
  ],
  [
    "upgrades to something else",
    ({ switching, write }) => write(switching().replace("websocket", "h2c")),
    "dial_failed",
  ],
  [
    "answers with an extension nobody asked for",
    ({ switching, write }) => write(switching("sec-websocket-extensions: permessage-deflate")),
    "dial_failed",
  ],
  [
    "answers with a subprotocol nobody asked for",
    ({ switching, write }) => write(switching("sec-websocket-protocol: other")),
    "dial_failed",
  ],
  ...[301, 302, 303, 307, 308].map(
    (status) =>
      [
        `redirects with ${status}`,
        (peer: Peer) =>
          endsWith(answer(`${status} Over there`, `location: ${locationOf(peer)}`, "content-length: 0"))(peer),
        "dial_failed",
      ] as const,
  ),
  ["answers 200", endsWith(answer("200 OK", "content-length: 2") + "ok"), "dial_failed"],
  ["answers 204", endsWith(answer("204 No Content")), "dial_failed"],
  ["answers 102 and nothing more", says(answer("102 Processing")), "dial_timeout", "15 seconds"],
  ["answers a status that is none", endsWith(answer("999 What", "content-length: 0")), "dial_failed"],
  ["sends a head of 200 kilobytes", says(answer("101 Ok", `x: ${"y".repeat(200_000)}`)), "dial_failed"],
  [
    "sends ten thousand headers",
    says(answer("101 Ok", ...Array.from({ length: 10_000 }, (_, i) => `x-${i}: y`))),
    "dial_failed",
  ],
  ["sends a head that never ends", (peer) => forever(peer, `x: ${"y".repeat(1000)}\r\n`), "dial_failed"],
  ["sends garbage", endsWith("\u0000\u0001\ufffd garbage\r\n\r\n"), "dial_failed"],
  [
    "refuses with a body that never ends",
    (peer) => {
      peer.write(answer("500 No", "content-type: text/plain"))
      forever(peer, "z".repeat(1000))
    },
    "upgrade_refused",
  ],
  ["speaks before it is asked", withAnswer(text(`{"type":"response.created"}`)), "dial_failed"],
  ["sends half a message before it is asked", withAnswer(text("x", { fin: false }), closing(1000)), "dial_failed"],
  ["sends a binary message before it is asked", withAnswer(frame(2, "x")), "dial_failed"],
  ["closes together with its answer", withAnswer(closing(1013, "try again later")), "dial_failed"],
  ["breaks the protocol together with its answer", withAnswer(frame(3, "")), "dial_failed"],
  ["declares 2^63 bytes together with its answer", withAnswer(text("", { declared: 1n << 63n })), "dial_failed"],
  ["refuses with a body that never comes", says(answer("500 No", "content-length: 9")), "dial_timeout", "15 seconds"],
]

const locationOf = ({ head, socket }: Peer) => `http://127.0.0.1:${socket.localPort}/v1/elsewhere?${head.length}`

export const opening = `{"type":"response.created","sequence_number":0,"response":{"id":"resp_x"}}`
export const delta = `{"type":"response.output_text.delta","sequence_number":1,"delta":"x"}`

export type Ends = "closed" | "protocol" | "overflow"

/** What an upstream answers a turn with, and what ends the connection. */
export const violations: ReadonlyArray<readonly [what: string, turn: (peer: Peer) => void, ends: Ends]> = [
  ["masks a frame", ({ write }) => write(text(opening, { masked: true })), "protocol"],
  ["sets RSV1", ({ write }) => write(text(opening, { reserved: 4 })), "protocol"],
  ["sets RSV2", ({ write }) => write(text(opening, { reserved: 2 })), "protocol"],
  ["sets RSV3", ({ write }) => write(text(opening, { reserved: 1 })), "protocol"],
  ...[3, 7, 11, 15].map(
    (opcode) => [`uses opcode ${opcode}`, ({ write }: Peer) => write(frame(opcode, opening)), "protocol"] as const,
  ),
  ["continues what never began", ({ write }) => write(frame(0, opening)), "protocol"],
  [
    "begins a message inside of another",
    ({ write }) => write(text(opening.slice(0, 9), { fin: false }), text(opening)),
    "protocol",
  ],
  ["pings with 126 bytes", ({ write }) => write(frame(9, "p".repeat(126))), "protocol"],
  ["sends half a ping", ({ write }) => write(frame(9, "p", { fin: false })), "protocol"],
  ["closes in two pieces", ({ write }) => write(frame(8, "", { fin: false })), "protocol"],
  ["closes with one byte", ({ write }) => write(frame(8, "x")), "protocol"],
  ["sends text that is no UTF-8", ({ write }) => write(text(Buffer.from([0xff, 0xfe]))), "protocol"],
  ["sends text cut inside of a character", ({ write }) => write(text(Buffer.from("é").subarray(0, 1))), "protocol"],
  ["closes for a reason that is no UTF-8", ({ write }) => write(closing(1000, Buffer.from([0xc3, 0x28]))), "protocol"],
  ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535].map(
    (code) => [`closes with ${code}`, ({ write }: Peer) => write(closing(code)), "protocol"] as const,
  ),
  ["closes without a code", ({ write }) => write(frame(8, "")), "closed"],
  ["closes as it should", ({ write }) => write(closing(1000, "bye")), "closed"],
  ["hangs up", ({ socket }) => socket.end(), "closed"],
  ["resets the connection", ({ socket }) => socket.resetAndDestroy(), "closed"],
  ["sends garbage", ({ write }) => write("HTTP/1.1 400 Bad Request\r\n\r\n"), "protocol"],
  ["hangs up inside of a frame", ({ socket }) => socket.end(text(opening).subarray(0, 20)), "closed"],
  ["sends a binary message", ({ write }) => write(frame(2, opening)), "protocol"],
  ["sends an empty message", ({ write }) => write(text("")), "protocol"],
  ["sends what is no JSON", ({ write }) => write(text("not json")), "protocol"],
  ["sends JSON that is no event", ({ write }) => write(text("[]")), "protocol"],
  ["declares 2^63 bytes", ({ write }) => write(text("x", { declared: 1n << 63n })), "overflow"],
  ["declares 2^40 bytes", ({ write }) => write(text("x", { declared: 1n << 40n })), "overflow"],
  [
    "sends fragments for ever",
    (peer) => {
      peer.write(text("", { fin: false }))
      forever(peer, frame(0, "x".repeat(1024 * 1024), { fin: false }))
    },
    "overflow",
  ],
  [
    "sends empty fragments for ever",
    (peer) => {
      peer.write(text("", { fin: false }))
      forever(peer, Buffer.concat(Array.from({ length: 1000 }, () => frame(0, "", { fin: false }))))
    },
    "overflow",
  ],
]

export const codeOf = (ends: Ends) => (ends === "closed" ? "upstream_closed" : "upstream_protocol")

/** A connection that was closed before content is tried once more. */
export const attemptsOf = (ends: Ends) => (ends === "closed" ? 2 : 1)

export const odd: ReadonlyArray<readonly [what: string, turn: (peer: Peer) => void]> = [
  [
    "cuts its messages into fragments, with pings between",
    ({ write }) => {
      const [first = "", ...rest] = events()
      write(text(first.slice(0, 5), { fin: false }), frame(9, "p"), frame(0, first.slice(5, 9), { fin: false }))
      write(frame(0, "", { fin: false }), frame(10, "unasked"), frame(0, first.slice(9)))
      write(...rest.map((event) => text(event)))
    },
  ],
  [
    "writes a byte at a time",
    ({ socket }) => {
      const bytes = Buffer.concat(events().map((event) => text(event)))
      const go = (at: number) => {
        if (at < bytes.length) socket.write(bytes.subarray(at, at + 1), () => setImmediate(go, at + 1))
      }
      go(0)
    },
  ],
]

/** Forbidden too, but harmless: `ws` lets it pass. */
export const padded: (typeof odd)[number] = [
  "writes lengths longer than they need to be",
  ({ write }) => {
    for (const event of events()) {
      const head = Buffer.alloc(10)
      head[0] = 0x81
      head[1] = 127
      head.writeBigUInt64BE(BigInt(Buffer.byteLength(event)), 2)
      write(head, event)
    }
  },
]

let oddTurns = 0
const events = () => {
  const id = `resp_odd_${++oddTurns}`
  return [
    `{"type":"response.created","response":{"id":"${id}"}}`,
    `{"type":"response.completed","response":{"id":"${id}","status":"completed","output":[]}}`,
  ]
}
