/**
 * Small mistakes by which one caller's body, connection or slowness would cost the others something.
 */
import type { MutantOfTheWhole } from "./Mutants.ts"

const by =
  (...noticedBy: readonly [string, ...ReadonlyArray<string>]) =>
  (name: string, file: string, find: string, replace: string): MutantOfTheWhole => ({
    name,
    file,
    find,
    replace,
    noticedBy,
  })

export const ofCosts: ReadonlyArray<MutantOfTheWhole> = [
  by("test/proxy/sockets/Idle.test.ts")(
    "socket-keeps-its-request",
    "src/downstream/http/Pending.ts",
    `    this.request.signal.removeEventListener("abort", this)\n`,
    ``,
  ),
  by("test/upstream/dialer/SendQueue.test.ts")(
    "pieces-are-all-made-at-once",
    "src/upstream/dialer/SendQueue.ts",
    `if (written >= piecesAtOnce && `,
    `if (written < 0 && `,
  ),
  by("test/upstream/dialer/DialerBun.test.ts")(
    "large-message-is-one-piece",
    "src/upstream/dialer/DialerBun.ts",
    `if (payload.length <= pieceSize) return`,
    `if (payload.length >= 0) return`,
  ),
  by("test/upstream/dialer/FrameWriter.test.ts")(
    "last-piece-is-lost",
    "src/upstream/dialer/FrameWriter.ts",
    `if (at >= length) return undefined`,
    `if (at + pieceSize > length) return undefined`,
  ),
  by("test/upstream/dialer/Dialer.test.ts")(
    "ws-sends-any-message-in-one-frame",
    "src/upstream/dialer/DialerWs.ts",
    `const fragmentSize = 1 << 18`,
    `const fragmentSize = 1 << 30`,
  ),
  by("test/downstream/http/RequestBytes.test.ts")(
    "body-of-a-quick-client-is-read-without-a-break",
    "src/downstream/http/Collected.ts",
    `if (value.length >= smallPart && this.#inRound < perRound)`,
    `if (value.length >= smallPart)`,
  ),
  by("test/downstream/socket/ClientEvent.test.ts")(
    "pair-is-cut-between-two-steps",
    "src/downstream/socket/ClientEvent.ts",
    `if ((text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to++`,
    ``,
  ),
  by("test/downstream/socket/ClientEvent.test.ts")(
    "clients-message-is-encoded-at-once",
    "src/downstream/socket/ClientEvent.ts",
    `if (text.length <= copyStep) return`,
    `if (text.length >= 0) return`,
  ),
  by("test/downstream/socket/ClientEvent.test.ts")(
    "failed-steer-repeats-any-input",
    "src/downstream/socket/SteerFrames.ts",
    `end - start > maxRepeated ?`,
    `end - start < 0 ?`,
  ),
  by("test/downstream/socket/ClientConnection.test.ts")(
    "what-has-arrived-hears-nothing-of-the-stop",
    "src/downstream/socket/ClientConnection.ts",
    `this.#running > 0 || this.#reading) return`,
    `this.#running > 0) return`,
  ),
  by("test/lifecycle/ClientSockets.test.ts")(
    "clients-socket-is-counted-for-ever",
    "src/downstream/socket/ClientSockets.ts",
    `if (connections.delete(asked)) leave(asked.scope ?? "")`,
    `leave(asked.scope ?? "")`,
  ),
  by("test/lifecycle/ClientSockets.test.ts")(
    "turns-that-wait-hear-nothing-of-the-stop",
    "src/downstream/socket/ClientConnection.ts",
    `      this.#send(lane, refusalFrame(this.#leaving.error, waiting.event))`,
    ``,
  ),
  by("test/proxy/sockets/Steering.test.ts", "test/lifecycle/ClientSockets.test.ts")(
    "turns-of-a-client-that-has-left-run-on",
    "src/downstream/socket/ClientConnection.ts",
    `      for (const { running } of this.#talk.lanes.all()) running?.fiber?.interruptUnsafe()`,
    ``,
  ),
  by("test/wire/Steps.test.ts")(
    "message-is-copied-at-once",
    "src/wire/Frame.ts",
    `if (this.#inStep + end - start > copyStep) return`,
    `if (this.#inStep < 0) return`,
  ),
  by("test/downstream/http/Descriptors.test.ts")(
    "process-sleeps-while-descriptors-run-out",
    "src/downstream/http/Descriptors.ts",
    `Math.min(longestRest, Math.floor`,
    `Math.max(longestRest, Math.floor`,
  ),
  by("test/downstream/http/Descriptors.test.ts")(
    "busy-connections-are-shed",
    "src/downstream/http/Descriptors.ts",
    `.filter((client) => !isBusy(client))`,
    `.filter((client) => !isBusy(client) || client.fd >= 0)`,
  ),
  by("test/downstream/http/Descriptors.test.ts")(
    "no-descriptors-are-kept-back",
    "src/downstream/http/Descriptors.ts",
    `Math.floor(descriptors / 2) - 16`,
    `Math.floor(descriptors) - 16`,
  ),
  by("test/downstream/http/Descriptors.test.ts")(
    "answered-clients-are-shed-first",
    "src/downstream/http/Descriptors.ts",
    `Number(a.answered) - Number(b.answered) || b.quiet`,
    `Number(b.answered) - Number(a.answered) || b.quiet`,
  ),
  by("test/downstream/http/Descriptors.test.ts")(
    "only-addresses-are-counted",
    "src/downstream/http/Descriptors.ts",
    `left > 0 ? [...shed, ...kept.slice(0, left)] : shed`,
    `shed`,
  ),
  by("test/downstream/http/Paced.test.ts")(
    "who-takes-nothing-may-do-so-for-ever",
    "src/downstream/http/Paced.ts",
    `orElse: () => Effect.andThen(late, Effect.fail(tookNothing)),`,
    `orElse: () => Effect.never,`,
  ),
  by("test/downstream/http/Paced.test.ts")(
    "parts-of-any-size",
    "src/downstream/http/Paced.ts",
    `part.length <= largestPart ? taken(part)`,
    `part.length >= 0 ? taken(part)`,
  ),
  by("test/downstream/http/Paced.test.ts")(
    "passed-answer-is-read-far-ahead",
    "src/downstream/http/Paced.ts",
    `{ bufferSize: partsAhead, strategy: "suspend" }`,
    `{ bufferSize: 1 << 20, strategy: "suspend" }`,
  ),
  by("test/turn/JumpingClock.test.ts")(
    "what-lasts-is-measured-by-the-wall-clock",
    "src/turn/Elapsed.ts",
    `  Math.floor(Number(clock.monotonicTimeNanosUnsafe()) / 1_000_000)`,
    `  clock.currentTimeMillisUnsafe()`,
  ),
  by("test/turn/JumpingClock.test.ts")(
    "age-goes-back-with-the-clock",
    "src/turn/Elapsed.ts",
    `age += Math.max(0, passedNow - passed, wallNow - wall)`,
    `age += Math.max(passedNow - passed < 0 ? 0 : -Infinity, wallNow - wall)`,
  ),
  by("test/turn/JumpingClock.test.ts")(
    "sleep-of-the-machine-makes-nothing-older",
    "src/turn/Elapsed.ts",
    `age += Math.max(0, passedNow - passed, wallNow - wall)`,
    `age += Math.max(0, passedNow - passed)`,
  ),
  by("test/wire/Steps.test.ts")(
    "items-are-counted-as-spans",
    "src/turn/memory/Lineage.ts",
    `const itemSize = 384`,
    `const itemSize = 48`,
  ),
  by("test/wire/Steps.test.ts")(
    "messages-are-counted-as-items",
    "src/turn/memory/Lineage.ts",
    `? 0 : messageSize + message`,
    `? 0 : message`,
  ),
]
