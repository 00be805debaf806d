/**
 * One turn in the owner's hands: the request to it, and its answer as it comes.
 *
 * How far it got is what counts. What the owner has refused, or nobody was there to hear, was not taken, and the entry
 * node may run it. From the moment that it may have been taken it is never sent again: if the owner falls silent or the
 * connection breaks, the client is told that nobody knows what became of the turn.
 */
import { Effect, Exit, Option, Schema } from "effect"
import { TurnRoute } from "../turn/Executor.ts"
import type { TurnEnd, TurnSink } from "../turn/Executor.ts"
import { TurnError } from "../turn/TurnError.ts"
import { readEnd, readFailure } from "./Envelope.ts"
import { FrameParser, Kind } from "./Frames.ts"
import type { Node } from "./Nodes.ts"
import { isTakeover, NotTaken } from "./Refusal.ts"
import type { AnswerKey } from "./sealed/Answers.ts"
import { AnswerOpening } from "./sealed/Answers.ts"
import { labelHeader } from "./sealed/Sealing.ts"
import type { Silence, Watched } from "./Silence.ts"

export const turnPath = "/respool/turn"

export interface Handing {
  readonly node: Node
  /** The request's label, as it goes into the header. */
  readonly label: string
  /** The sealed part and the client's body, sealed as well. */
  readonly parts: ReadonlyArray<Uint8Array>
  /** What its answer is opened with, so that only a node of this cluster can give one. */
  readonly answerKey: AnswerKey
  readonly sink: TurnSink
  readonly silence: Silence
  /** How long a slow client may take nothing of its answer, in milliseconds. */
  readonly clientTimeout: number
  /** Called when the owner has taken the turn, and at each later sign of life. */
  readonly taken: () => void
  /** Called when the turn was lost with the owner. */
  readonly lost: () => void
}

type Outcome = Exit.Exit<TurnEnd, TurnError | NotTaken>

const readRoute = Schema.decodeUnknownOption(Schema.fromJsonString(TurnRoute))
const readHead = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Record(Schema.String, Schema.String)))

/** The codes with which `fetch` says that nobody was reached. */
const noPeer = /^(ECONNREFUSED|ConnectionRefused|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)$/

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** A longer refusal is none of ours, in UTF-16 units. */
const maxRefusal = 256

/** A larger request is written part by part, since the platform copies what is one piece. */
const largest = 1 << 20
const partSize = 1 << 18

class Handover implements Watched {
  ticks = 0
  paused = false
  readonly clientTimeout: number
  readonly #handing: Handing
  readonly #abort = new AbortController()
  readonly #opening: AnswerOpening
  readonly #parser: FrameParser
  readonly #resume: (outcome: Outcome) => void
  #isTaken = false
  #events = 0
  #over = false
  #goOn: (() => void) | undefined

  constructor(handing: Handing, resume: (outcome: Outcome) => void) {
    this.#handing = handing
    this.clientTimeout = handing.clientTimeout
    this.#resume = resume
    this.#opening = new AnswerOpening(handing.answerKey)
    this.#parser = new FrameParser({
      event: (type, text) => this.#event(type, text),
      other: (kind, text) => this.#other(kind, text),
    })
    handing.silence.watch(this)
    void this.#run()
  }

  silent() {
    this.#lose("it gave no sign of life for 1.5 seconds")
  }

  /** The owner sees its connection close, and cancels the turn. */
  stuck() {
    const message = "the client did not take its answer in time"
    this.#finish(Exit.fail(new TurnError({ reason: "slow_client", delivery: "Accepted", message })))
    this.#abort.abort()
  }

  /** The client has left: the owner sees its connection close, and cancels the turn. */
  cancel() {
    this.#end()
    this.#abort.abort()
  }

  async #run() {
    const { label, node, parts } = this.#handing
    try {
      // A connection of its own: one that was kept may have been closed, and then it is not known what arrived on it.
      const answer = await fetch(`${node.address}${turnPath}`, {
        method: "POST",
        headers: { [labelHeader]: label },
        body: this.#body(parts),
        signal: this.#abort.signal,
        keepalive: false,
        redirect: "manual",
        timeout: false,
      } as RequestInit)
      if (this.#over) return
      this.ticks = 0
      if (answer.status === 200 && answer.body !== null) return await this.#read(answer.body)
      const word = (await answer.text()).slice(0, maxRefusal)
      if (isTakeover(word)) this.#finish(Exit.fail(new NotTaken({ reason: word })))
      else this.#lose(`it answered ${answer.status}`)
    } catch (cause) {
      if (!this.#isTaken && noPeer.test(codeOf(cause))) {
        this.#finish(Exit.fail(new NotTaken({ reason: "owner_unreachable" })))
      } else this.#lose("the connection to it broke")
    }
  }

  #body(parts: ReadonlyArray<Uint8Array>): Uint8Array | ReadableStream<Uint8Array> {
    const size = parts.reduce((sum, { length }) => sum + length, 0)
    if (size <= largest) return Buffer.concat(parts, size)
    const pieces = piecesOf(parts)
    return new ReadableStream<Uint8Array>(
      {
        pull: (controller) => {
          // That the platform takes more of it is a sign of life.
          this.ticks = 0
          const next = pieces.next()
          if (next.done === true) controller.close()
          else controller.enqueue(next.value)
        },
      },
      { highWaterMark: 1 },
    )
  }

  async #read(body: ReadableStream<Uint8Array>) {
    const reader = body.getReader()
    for (;;) {
      const { done, value } = await reader.read()
      if (this.#over) {
        // What follows the end is nothing but the end of the stream.
        if (done) return
        continue
      }
      if (done) return this.#lose("it broke off its answer")
      this.ticks = 0
      const text = this.#opening.open(value)
      if (text === undefined || !this.#parser.feed(text)) return this.#lose("its answer can't be read")
      if (this.paused) await this.#caughtUp()
    }
  }

  #caughtUp(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#goOn = resolve
    return promise
  }

  #event(type: string, text: string) {
    if (this.#over || !this.#isTaken) return
    this.#events++
    const { sink } = this.#handing
    if (sink.event(type, text) || this.paused) return
    this.paused = true
    this.ticks = 0
    sink.onDrain(
      () => {
        this.paused = false
        this.ticks = 0
        this.#goOn?.()
        this.#goOn = undefined
      },
      () => {
        this.ticks = 0
      },
    )
  }

  #other(kind: string, text: string) {
    if (this.#over) return
    const { sink, taken } = this.#handing
    if (kind === Kind.taken) {
      this.#isTaken = true
      return taken()
    }
    if (!this.#isTaken) return this.#lose("its answer can't be read")
    if (kind === Kind.alive) return taken()
    if (kind === Kind.route) {
      const route = readRoute(text)
      if (Option.isSome(route)) sink.route({ ...route.value, node: this.#handing.node.name })
    } else if (kind === Kind.head) {
      const head = readHead(text)
      if (Option.isSome(head)) sink.head(head.value)
    } else if (kind === Kind.end) {
      const end = readEnd(text)
      if (Option.isSome(end)) this.#finish(Exit.succeed(end.value))
      else this.#lose("its answer can't be read")
    } else {
      const failure = kind === Kind.failure ? readFailure(text) : undefined
      if (failure === undefined) this.#lose("its answer can't be read")
      else this.#finish(Exit.fail(failure))
    }
  }

  #lose(why: string) {
    if (this.#over) return
    this.#handing.lost()
    this.#finish(
      Exit.fail(
        new TurnError({
          reason: "turn_outcome_unknown",
          delivery: this.#events > 0 ? "Accepted" : "Ambiguous",
          message: `the node that ran the turn was lost, and it is not known what became of it: ${why}`,
        }),
      ),
    )
    this.#abort.abort()
  }

  #finish(outcome: Outcome) {
    if (this.#over) return
    this.#end()
    this.#resume(outcome)
  }

  #end() {
    this.#over = true
    this.#handing.silence.leave(this)
    this.#goOn?.()
    this.#goOn = undefined
  }
}

function* piecesOf(parts: ReadonlyArray<Uint8Array>) {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += partSize) yield part.subarray(at, at + partSize)
  }
}

/** Succeeds with the turn's end. Interrupting it cancels the turn at the owner. */
export const handOver = (handing: Handing): Effect.Effect<TurnEnd, TurnError | NotTaken> =>
  Effect.callback((resume) => {
    const handover = new Handover(handing, resume)
    return Effect.sync(() => handover.cancel())
  })
