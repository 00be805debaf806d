/**
 * Clients that send what no client should: broken frames' worth of JSON, events that nobody knows, lanes at random. No
 * message may bring the proxy down, close a socket that should stay, or reach another client.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { settled } from "../../support/Faulty.ts"
import { makeRandom } from "../../support/Random.ts"
import { runs } from "../../support/Runs.ts"
import { SocketReader } from "../../support/SocketReader.ts"
import { TestProxy } from "../../support/TestProxy.ts"

const types = [
  "response.create",
  "response.steer",
  "response.cancel",
  "session.update",
  "",
  "error",
  "response.created",
]
const lanes = ["a", "b", "c", "", "a b", "ä", 7, null, "x".repeat(257)]
const values: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  0,
  -1,
  1e300,
  "",
  "x",
  "\ud800",
  [],
  [null],
  {},
  { a: { b: [] } },
  [[[[]]]],
]
const names = [
  "input",
  "model",
  "store",
  "previous_response_id",
  "generate",
  "background",
  "stream",
  "event_id",
  "tools",
  "metadata",
  "instructions",
  "conversation",
  "stream_id",
  "type",
  "background_options",
  "include",
]

/** Numbers from 0 to below 1. */
const fractions = (seed: number) => {
  const random = makeRandom(seed)
  return () => random(1_000_000) / 1_000_000
}

/** A text of one kind or another; most are objects with a type. */
const messageOf = (next: () => number, marker: string): string => {
  const pick = <A>(list: ReadonlyArray<A>): A => list[Math.floor(next() * list.length)] as A
  const message: Record<string, unknown> = { type: next() < 0.8 ? pick(types) : pick(values), metadata: { marker } }
  if (next() < 0.6) message["stream_id"] = pick(lanes)
  for (let member = 0; member < 4; member++) if (next() < 0.5) message[pick(names)] = pick(values)
  const text = JSON.stringify(message)
  const at = Math.floor(next() * text.length)
  switch (Math.floor(next() * 8)) {
    case 0:
      return text.slice(0, at)
    case 1:
      return `${text.slice(0, at)}${pick(["}", "{", '"', "\\", "\0", "\u2028", ",", "é"])}${text.slice(at)}`
    case 2:
      return text.replace("{", '{"type":"response.create",')
    default:
      return text
  }
}

const isEnd = (text: string) => /"type":"(error|response\.(completed|failed|incomplete|steer\.failed))"/.test(text)

describe("Clients that send anything", () => {
  it.effect("get one answer to each message, and nobody else's, and their sockets stay", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const simulator = yield* Simulator
      const next = fractions(20_261_127)
      const total = runs(200_000)
      const perClient = 500
      for (let done = 0; done < total; done += 2 * perClient) {
        const clients = [yield* SocketReader.open(url), yield* SocketReader.open(url)]
        for (let message = 0; message < perClient; message++) {
          for (const [index, client] of clients.entries()) client.text(messageOf(next, `client-${index}`))
          // So many wait at a time that none is refused for that.
          if (message % 40 === 39) {
            for (const client of clients) yield* client.until((texts) => texts.filter(isEnd).length === message + 1)
          }
        }
        for (const [index, client] of clients.entries()) {
          yield* client.until((texts) => texts.filter(isEnd).length >= perClient)
          client.say({ model: "gpt-5.5", input: "Still there?", stream_id: "a" })
          yield* client.until((texts) => texts.filter(isEnd).length === perClient + 1)
          assert.include(client.texts.at(-1), '"response.completed"')
          assert.isUndefined(client.closeCode)
          const others = client.texts.filter((text) => text.includes(`client-${1 - index}`))
          assert.deepStrictEqual(others, [], "what another client said")
          client.close(1000)
          yield* client.gone
        }
        yield* settled()
        yield* simulator.reset
      }
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())),
  )

  it.effect("with frames that break the protocol lose their own socket, and no other", () =>
    Effect.gen(function* () {
      const { url } = yield* TestProxy
      const lasting = yield* SocketReader.open(url)
      const next = fractions(7)
      for (let attempt = 0; attempt < runs(2_000); attempt++) {
        const client = yield* SocketReader.open(url)
        const bytes = Uint8Array.from({ length: 2 + Math.floor(next() * 40) }, () => Math.floor(next() * 256))
        client.raw(bytes)
        client.leave()
        yield* client.gone
      }
      lasting.say({ model: "gpt-5.5", input: "Still there?" })
      yield* lasting.until((texts) => texts.some((text) => text.includes('"response.completed"')))
    }).pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())),
  )
})
