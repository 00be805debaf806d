/**
 * What strangers do to a proxy in an attack: each manner goes on by itself until it is interrupted, and draws all that
 * it does from the seed. What an answer to one of them says is not judged here.
 */
import { Console, Duration, Effect } from "effect"
import { connect } from "node:net"
import { request } from "../support/Ask.ts"
import { fuzzedBody } from "../support/BodyFuzz.ts"
import type { Conduct } from "../support/HostileUpstream.ts"
import { good } from "../support/HostileUpstream.ts"
import { odd, upgrades, violations } from "../support/Misconduct.ts"
import type { Random } from "../support/Random.ts"
import { makeRandom } from "../support/Random.ts"

const pause = (millis: number) => Effect.sleep(Duration.millis(millis))

const keys = ["test-key-x", "test-key-y", "test-key-z"] as const

const of = <A>(random: Random, list: readonly [A, ...ReadonlyArray<A>]): A => list[random(list.length)] ?? list[0]

/** A connection of bytes, which ends with `use`. */
const connected = (url: string, use: (socket: ReturnType<typeof connect>) => Effect.Effect<void>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) })
      socket.on("error", () => {})
      return socket
    }),
    use,
    (socket) => Effect.sync(() => socket.destroy()),
  )

const body = (random: Random, model: string) =>
  JSON.stringify({ model, stream: random(2) === 0, input: "x".repeat(random(2_000)) })

const head = (random: Random, length: number) =>
  [
    "POST /v1/responses HTTP/1.1",
    "host: 127.0.0.1",
    `authorization: Bearer ${of(random, keys)}`,
    `session-id: stranger-${random(50)}`,
    `content-length: ${length}`,
    "\r\n",
  ].join("\r\n")

/** A turn that its client leaves, at any moment from before the connection is used until after the end. */
const leaves = (url: string, random: Random) =>
  Effect.promise(async () => {
    const headers = { "session-id": `stranger-${random(50)}` }
    const asked = { key: of(random, keys), headers, body: body(random, "m") }
    try {
      await (await request(`${url}/responses`, asked, AbortSignal.timeout(random(80)))).text()
    } catch {
      // That is what it came for.
    }
  })

/** Asks, and reads nothing; now and then it closes its own half first. */
const stops = (url: string, random: Random) =>
  connected(url, (socket) => {
    const text = body(random, of(random, ["m", "hostile"]))
    socket.pause()
    socket.write(head(random, text.length) + text)
    if (random(2) === 0) socket.end()
    return pause(200 + random(4_000))
  })

/** Announces a body, and sends little of it, slowly. */
const drips = (url: string, random: Random) =>
  connected(url, (socket) => {
    socket.write(head(random, of(random, [10, 100_000, 30_000_000])))
    return Effect.repeat(
      Effect.suspend(() => {
        socket.write("{")
        return pause(100)
      }),
      { times: random(30) },
    )
  })

/** Sends a body that no client means to send. */
const garbles = (url: string, random: Random) =>
  Effect.promise(async () => {
    const fuzzed = fuzzedBody(random(1 << 30))
    const headers = { "content-encoding": fuzzed.encoding ?? "identity" }
    try {
      await (await request(`${url}/responses`, { key: keys[0], headers, body: Uint8Array.from(fuzzed.body) })).text()
    } catch {
      // A refusal may come as a close.
    }
  })

/** A turn for the upstream that breaks every rule, given up after a while. */
const trusts = (url: string, random: Random) =>
  Effect.promise(async () => {
    try {
      const asked = { key: keys[1], body: body(random, "hostile") }
      await (await request(`${url}/responses`, asked, AbortSignal.timeout(3_000))).text()
    } catch {
      // Its upstream is what fails.
    }
  })

const manners = { leaves, stops, drips, garbles, trusts }

/**
 * All of it at once, for ever: so many strangers of each manner, each with a pause of `pace` milliseconds on average
 * between two of what it does. How often each was done is printed once a second.
 */
export const storm = (url: string, { each, pace, seed }: { each: number; pace: number; seed: number }) => {
  const done: Record<string, number> = {}
  const stranger = (name: string, manner: (typeof manners)["leaves"], number: number) => {
    const random = makeRandom(seed * 1_000 + number)
    return Effect.forever(
      Effect.andThen(
        Effect.suspend(() => {
          done[name] = (done[name] ?? 0) + 1
          return manner(url, random)
        }),
        Effect.suspend(() => pause(1 + random(2 * pace))),
      ),
    )
  }
  const strangers = Object.entries(manners).flatMap(([name, manner], kind) =>
    Array.from({ length: each }, (_, one) => stranger(name, manner, kind * 100 + one)),
  )
  const telling = Effect.forever(
    Effect.andThen(
      pause(1000),
      Effect.suspend(() => Console.log(`storm ${JSON.stringify(done)}`)),
    ),
  )
  return Effect.all([telling, ...strangers], { concurrency: "unbounded", discard: true })
}

/** A minute on average, until a socket that was closed is opened again, and for all to be opened at first. */
const opensAgain = 60_000

/**
 * So many sockets that say nothing, half of them from one address and half from many; opened within a minute, and each
 * again a while after the proxy has closed it. How many are open is printed once a second.
 */
export const idlers = (url: string, { count, seed }: { count: number; seed: number }) => {
  const random = makeRandom(seed)
  let open = 0
  const idler = (number: number) =>
    Effect.forever(
      Effect.andThen(
        Effect.callback<void>((resume) => {
          const last = number % 2 === 0 ? 2 : 3 + random(200)
          const socket = connect({
            host: "127.0.0.1",
            port: Number(new URL(url).port),
            localAddress: `127.0.0.${last}`,
          })
          let counted = false
          socket.on("connect", () => {
            counted = true
            open++
          })
          socket.on("error", () => {})
          socket.on("close", () => {
            if (counted) open--
            counted = false
            resume(Effect.void)
          })
          return Effect.sync(() => socket.destroy())
        }),
        Effect.suspend(() => pause(1 + random(2 * opensAgain))),
      ),
    )
  const all = Array.from({ length: count }, (_, number) =>
    Effect.andThen(pause((number / count) * opensAgain), idler(number)),
  )
  const telling = Effect.forever(
    Effect.andThen(
      pause(1000),
      Effect.suspend(() => Console.log(`open ${open}`)),
    ),
  )
  return Effect.all([telling, ...all], { concurrency: "unbounded", discard: true })
}

/** What the hostile upstream does: every misconduct in turn, as the seed has it, and now and then what is right. */
export const conductOf = (seed: number): Conduct => {
  const random = makeRandom(seed)
  const turns: ReadonlyArray<Conduct["turn"]> = [...violations, ...odd].map(([, turn]) => turn)
  const openings = upgrades.map(([, upgrade]) => upgrade)
  const pick = <A>(list: ReadonlyArray<A>, right: A) => (random(2) === 0 ? right : (list[random(list.length)] ?? right))
  return {
    upgrade: (peer) => pick(openings, good.upgrade)(peer),
    turn: (peer, message) => pick(turns, good.turn)(peer, message),
  }
}
