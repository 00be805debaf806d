/**
 * Takes turns that other nodes hand over, on a listener of its own, and runs each of them here and nowhere else.
 *
 * A turn is taken once: its request's number and its id are both remembered. The entry node is told at once that it was
 * taken, and twice a second that this node lives. What is refused is refused before anything of it has run. When the
 * layer closes, no new turn is taken, those that run may end, and what is left then is ended with an error.
 */
import type { Scope } from "effect"
import { Clock, Effect, FiberSet, Result } from "effect"
import { setTimeout } from "node:timers/promises"
import { addressOf, isLoopback } from "../config/Address.ts"
import { SettingsError } from "../config/SettingsError.ts"
import { monotonicMillisOf } from "../turn/Elapsed.ts"
import type { TurnEnd, TurnExecutor } from "../turn/Executor.ts"
import type { BodyHeads } from "../turn/memory/BodyHeads.ts"
import { inSlices } from "../turn/Slices.ts"
import { TurnError } from "../turn/TurnError.ts"
import { idsPath, readIds } from "./AskIds.ts"
import type { OwnedId } from "./ClusterIds.ts"
import { makeReceived, readEnvelope, version } from "./Envelope.ts"
import { Kind } from "./Frames.ts"
import { turnPath } from "./Handover.ts"
import * as Hello from "./sealed/Hello.ts"
import { nameOf } from "./Nodes.ts"
import { OwnerAnswer } from "./OwnerAnswer.ts"
import type { Directory } from "./places/Directory.ts"
import { placePath, readClaim } from "./places/Directory.ts"
import { refuse, takenBefore } from "./Refusal.ts"
import { Admission, maxSealed } from "./sealed/Admission.ts"
import { AnswerSeal } from "./sealed/Answers.ts"
import { answered, questionOf } from "./sealed/Question.ts"
import type { Label, Sealing } from "./sealed/Sealing.ts"

export interface OwnerOptions {
  readonly address: string
  readonly sealing: Sealing
  /** Runs turns on this node's own connections. */
  readonly local: TurnExecutor
  readonly heads: BodyHeads["Service"]
  /** Whose ids are, of those that this node has a record of. */
  readonly recorded: (ids: ReadonlyArray<string>) => ReadonlyArray<OwnedId>
  readonly directory: Directory
  readonly maxTurns: number
  /** In bytes: one body, and all bodies together. */
  readonly maxBody: number
  readonly maxBodies: number
  readonly maxBuffered: number
  /** How long turns may take to end once the layer closes, in milliseconds. */
  readonly drainTimeout: number
  /** Tells the other nodes that this one stops, and ends when they know. */
  readonly takeLeave: Effect.Effect<void>
  /** A node said that it stops. */
  readonly askAnew: (name: string) => Effect.Effect<void>
  /** Whether a node of that name is there. */
  readonly lives: (name: string) => boolean
}

/** How often the entry nodes are shown that this node lives, in milliseconds. */
const beatEvery = 500

/**
 * For how long a node that stops still refuses turns, in milliseconds: one may be on its way that was handed over before
 * its entry node heard of it, and where nobody listens any more it could not be told whether that one was taken.
 */
const lateTurns = 100

/** So many ids of turns are remembered. */
const maxTaken = 65_536

/** Listens for what other nodes hand over, for as long as the scope lasts. */
export const listen = Effect.fnUntraced(function* (
  options: OwnerOptions,
): Effect.fn.Return<
  { readonly drain: Effect.Effect<void>; readonly running: () => number },
  SettingsError,
  Scope.Scope
> {
  const { address, heads, local, sealing } = options
  const clock = yield* Clock.Clock
  const now = () => monotonicMillisOf(clock)
  const received = makeReceived()
  const admission = new Admission(sealing, options)
  const taken = new Set<string>()
  const running = new Set<OwnerAnswer>()
  let draining = false

  const isNew = (turnId: string): boolean => {
    if (taken.has(turnId)) return false
    taken.add(turnId)
    const [oldest] = taken
    if (oldest !== undefined && taken.size > maxTaken) taken.delete(oldest)
    return true
  }

  const hello = (request: Request): Response => {
    const nonce = Hello.asked(sealing, request.headers)
    if (nonce === undefined) return refuse(401, "owner_foreign")
    const { mark, text } = Hello.answered(sealing, nonce, {
      node: nameOf(address),
      boot: sealing.bootId,
      version,
      draining,
      moved: options.directory.moved,
    })
    return new Response(text, { headers: { [Hello.answerHeader]: mark } })
  }

  /** A node stops: it is asked before the answer, so that it is handed nothing once it has it. */
  const left = (request: Request): Response | Promise<Response> => {
    const name = Hello.leaving(sealing, request.headers)
    if (name === undefined) return refuse(401, "owner_foreign")
    const { promise, resolve } = Promise.withResolvers<Response>()
    const done = new Response(null, { status: 204 })
    serve(
      Effect.as(options.askAnew(name), done).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            resolve(done)
          }),
        ),
      ),
    )
    return promise
  }

  /** Runs a turn whose request was read and found to be what its label says. */
  const accept = Effect.fnUntraced(function* (request: Request, label: Label, bytes: Uint8Array, over: () => void) {
    const { sealed } = label
    const opened = yield* inSlices(sealing.unseal(label, bytes.subarray(0, sealed), bytes.subarray(sealed)))
    const envelope = opened === undefined ? undefined : readEnvelope(opened.secret.toString())
    if (opened === undefined || envelope === undefined) return refuse(400, "owner_foreign")
    if (!isNew(envelope.turnId)) return refuse(409, takenBefore)
    if (draining) return refuse(503, "owner_draining")
    const turn = Effect.gen(function* () {
      const parsed = yield* inSlices(heads.read(envelope.group, opened.body))
      if (Result.isFailure(parsed)) return yield* unreadable
      return yield* local.execute(received(envelope, parsed.success, now()), answer)
    }).pipe(
      Effect.onExit((exit) => {
        running.delete(answer)
        answer.end(exit)
        return Effect.sync(over)
      }),
    )
    const seal = new AnswerSeal(sealing.answerKey(label))
    const answer = new OwnerAnswer(seal, options.maxBuffered, () => fiber.interruptUnsafe())
    running.add(answer)
    answer.say(Kind.taken, "")
    const fiber = fork(turn)
    if (request.signal.aborted) fiber.interruptUnsafe()
    else request.signal.addEventListener("abort", () => fiber.interruptUnsafe())
    return new Response(answer.body, { headers: { "content-type": "application/octet-stream" } })
  })

  const handed = async (request: Request): Promise<Response> => {
    if (draining) return refuse(503, "owner_draining")
    const read = await admission.read(request, options.maxBody)
    if (read instanceof Response) return read
    const { bytes, label, over } = read
    const { promise, resolve } = Promise.withResolvers<Response>()
    serve(
      Effect.onExit(accept(request, label, bytes, over), (exit) =>
        Effect.sync(() => resolve(exit._tag === "Success" ? exit.value : refuse(500, takenBefore))),
      ),
    )
    const answer = await promise
    if (answer.status !== 200) over()
    return answer
  }

  /** Answers a question of another node; `answerTo` gives undefined where it is none. */
  const ask = async (request: Request, path: string, answerTo: (question: string) => string | undefined) => {
    const read = await admission.read(request, maxSealed)
    if (read instanceof Response) return read
    const { bytes, label, over } = read
    over()
    const question = questionOf(sealing, label, bytes)
    const answer = question === undefined ? undefined : answerTo(question)
    return answer === undefined ? refuse(400, "owner_foreign") : answered(sealing, path, label, answer)
  }

  const questions: Readonly<Record<string, (question: string) => string | undefined>> = {
    [idsPath]: (question) => {
      const ids = readIds(question)
      return ids._tag === "None" ? undefined : JSON.stringify(options.recorded(ids.value))
    },
    [placePath]: (question) => {
      const claim = readClaim(question)
      return claim === undefined ? undefined : options.directory.holderOf(claim, options.lives)
    },
  }

  const { hostname, port } = addressOf(new URL(address))
  yield* Effect.acquireRelease(
    Effect.try({
      try: () =>
        Bun.serve({
          // The others reach this node by whatever address its machine has.
          hostname: isLoopback(hostname) ? hostname : hostname.includes(":") ? "::" : "0.0.0.0",
          port,
          // An answer is as silent as its turn, but for what shows that this node lives.
          idleTimeout: 0,
          maxRequestBodySize: options.maxBody + maxSealed,
          reusePort: false,
          development: false,
          fetch: (request) => {
            const { pathname } = new URL(request.url)
            if (pathname === Hello.helloPath) return request.method === "GET" ? hello(request) : left(request)
            if (pathname === turnPath && request.method === "POST") return handed(request)
            const answerTo = request.method === "POST" ? questions[pathname] : undefined
            if (answerTo !== undefined) return ask(request, pathname, answerTo)
            return new Response(null, { status: 404 })
          },
        }),
      catch: () => new SettingsError({ message: `RESPOOL_CLUSTER_ADDRESS=${address}: its port can't be listened on` }),
    }),
    (server) =>
      // Some rounds of the event loop let the last frames leave.
      Effect.yieldNow.pipe(
        Effect.repeat({ times: 100, while: () => server.pendingRequests > 0 }),
        Effect.andThen(Effect.promise(() => server.stop(true))),
      ),
  )
  const turns = yield* FiberSet.make<TurnEnd, TurnError>()
  const fork = yield* FiberSet.runtime(turns)<never>()
  const handlers = yield* FiberSet.make<Response>()
  const serve = yield* FiberSet.runtime(handlers)<never>()

  yield* Effect.sleep(beatEvery).pipe(
    Effect.andThen(
      Effect.sync(() => {
        for (const answer of running) answer.beat()
      }),
    ),
    Effect.forever,
    Effect.forkScoped,
  )
  const takeLeave = yield* Effect.cached(options.takeLeave)
  const drain = Effect.suspend(() => {
    draining = true
    return takeLeave
  })
  yield* Effect.addFinalizer(() =>
    drain.pipe(
      Effect.andThen(Effect.timeoutOption(FiberSet.awaitEmpty(turns), options.drainTimeout)),
      // What is on its way is on a network, which no clock of a test moves.
      Effect.andThen(Effect.promise(() => setTimeout(lateTurns))),
    ),
  )

  return {
    drain,
    running: () => running.size,
  }
})

/** The entry node has read the same bytes before. */
const unreadable = new TurnError({
  reason: "internal",
  delivery: "NotSent",
  message: "the turn that another node handed over can't be read",
})
