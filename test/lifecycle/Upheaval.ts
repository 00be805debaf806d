/**
 * What clients and the upstream do to each other in a soak: clients come, go, cancel and stall; the upstream resets,
 * refuses and stalls. All of it is random and none of it waits for the other.
 */
import { Duration, Effect, Random } from "effect"

/** How turns ended, as their clients saw it. */
export interface Tally {
  completed: number
  refused: number
  broken: number
  left: number
}

interface Item {
  readonly [name: string]: unknown
}

const between = (minimum: number, maximum: number) => Random.nextIntBetween(minimum, maximum)

const pause = (minimum: number, maximum: number) =>
  Effect.flatMap(between(minimum, maximum), (millis) => Effect.sleep(Duration.millis(millis)))

/** How a client takes an answer: whole, until some chunk, or with a stop on the way. */
const manners = Effect.gen(function* () {
  const die = yield* between(0, 100)
  if (die < 66) return { _tag: "Whole" } as const
  if (die < 90) return { _tag: "Leave", after: yield* between(0, 12) } as const
  return { _tag: "Stall", after: yield* between(0, 6) } as const
})

const completedOutput = (text: string): ReadonlyArray<Item> | undefined => {
  const line = text.split("\n").findLast((line) => line.startsWith("data: ") && line.includes('"response.completed"'))
  if (line === undefined) return undefined
  const { response } = JSON.parse(line.slice("data: ".length)) as {
    readonly response: { readonly output: Array<Item> }
  }
  return response.output
}

/** Reads as the manners say; leaving aborts the request, which is all that a client can do. */
const take = Effect.fnUntraced(function* (response: Response, tally: Tally) {
  const manner = yield* manners
  const reader = response.body?.getReader()
  if (reader === undefined) return undefined
  const decoder = new TextDecoder()
  let text = ""
  for (let chunk = 0; ; chunk++) {
    if (manner._tag === "Leave" && chunk >= manner.after) {
      tally.left++
      return undefined
    }
    if (manner._tag === "Stall" && chunk === manner.after) yield* pause(500, 4_000)
    const part = yield* Effect.tryPromise(() => reader.read())
    if (part.value === undefined) return text
    text += decoder.decode(part.value, { stream: true })
  }
})

/** One turn; what it put out, if it came to its end. */
const turn = Effect.fnUntraced(function* (url: string, session: string | undefined, input: unknown, tally: Tally) {
  const abort = yield* Effect.acquireRelease(
    Effect.sync(() => new AbortController()),
    (abort) => Effect.sync(() => abort.abort()),
  )
  const response = yield* Effect.tryPromise(() =>
    fetch(`${url}/responses`, {
      method: "POST",
      signal: abort.signal,
      headers: {
        authorization: "Bearer test-key-a",
        "content-type": "application/json",
        ...(session === undefined ? {} : { "session-id": session }),
      },
      body: JSON.stringify({ model: "m", stream: true, store: false, input }),
    }),
  )
  if (!response.ok) {
    tally.refused++
    yield* Effect.tryPromise(() => response.text())
    return undefined
  }
  const text = yield* take(response, tally)
  if (text === undefined) return undefined
  const output = completedOutput(text)
  if (output === undefined) tally.broken++
  else tally.completed++
  return output
}, Effect.scoped)

/** Holds one conversation after the other, for ever. */
export const client = (url: string, name: string, tally: Tally): Effect.Effect<never> =>
  Effect.gen(function* () {
    const named = (yield* between(0, 3)) > 0
    const session = named ? `${name} ${yield* between(0, 1_000)}` : undefined
    let input: ReadonlyArray<Item> = [{ role: "user", content: `hello from ${name}, ${yield* between(0, 1_000_000)}` }]
    for (let length = yield* between(1, 8); length > 0; length--) {
      const output = yield* turn(url, session, input, tally).pipe(
        Effect.catch(() =>
          Effect.sync(() => {
            tally.broken++
            return undefined
          }),
        ),
      )
      if (output === undefined) break
      input = [...input, ...output, { role: "user", content: `and then, ${yield* between(0, 1_000_000)}` }]
      yield* pause(0, 250)
    }
    // Long enough, now and then, for its connection to idle out.
    if ((yield* between(0, 10)) === 0) yield* pause(2_000, 8_000)
  }).pipe(Effect.forever)

/** Sends the simulator one change of its switches. */
const configure = (control: string, changes: unknown) =>
  Effect.ignore(
    Effect.tryPromise(async () => {
      const response = await fetch(`${control}/configure`, { method: "POST", body: JSON.stringify(changes) })
      await response.text()
    }),
  )

const fault = Effect.gen(function* () {
  const at = yield* between(0, 10)
  const faults = [
    { _tag: "Reset", at },
    { _tag: "Close", at, code: 1011 },
    { _tag: "Close", at: 0, code: 1000 },
    { _tag: "Stall", at },
    { _tag: "Delay", at, millis: 1_500 },
    { _tag: "Failed", at, code: "server_error", message: "failed" },
    { _tag: "Incomplete", at, reason: "max_output_tokens" },
    { _tag: "Error", at, status: 429, code: "rate_limit_exceeded", message: "slow down" },
    { _tag: "Error", at, status: 500, code: "server_error", message: "broken" },
    { _tag: "InvalidJson", at },
    { _tag: "BinaryFrame", at },
    { _tag: "ExtraFrame", at: 10_000 },
  ]
  return faults[yield* between(0, faults.length)]
})

/** Disturbs the upstream behind `control` for ever; a window in which it refuses or hangs ends by itself. */
export const upstream = (control: string): Effect.Effect<never> =>
  Effect.gen(function* () {
    yield* pause(20, 400)
    const die = yield* between(0, 100)
    if (die < 3) {
      yield* configure(control, { upgradeRefusal: { status: 503 } })
      yield* pause(200, 1_500)
      yield* configure(control, { upgradeRefusal: null })
    } else if (die < 5) {
      yield* configure(control, { websocket: "hang" })
      yield* pause(200, 3_000)
      yield* configure(control, { websocket: "on" })
    } else {
      yield* configure(control, { failNext: [[yield* fault]] })
    }
  }).pipe(Effect.forever)
