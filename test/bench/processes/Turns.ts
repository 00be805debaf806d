/**
 * The load: opens conversations and measures turns on them, as many at a time as the job says.
 */
import { setTimeout } from "node:timers/promises"
import type { AnswerScript, TurnsJob, TurnsResult, UpstreamStats } from "../Protocol.ts"
import { eventCount } from "./Answers.ts"
import { callOf, Conversation, itemsOf } from "./Conversation.ts"
import { cpuNanos } from "./CpuClock.ts"
import { historyItems, membersOf, question, toolOutput } from "./History.ts"
import { HttpConnection } from "./HttpConnection.ts"
import { SocketConnection } from "./SocketConnection.ts"

/** Tells the upstream how to answer, or to drop its sockets; gives its counts. */
export const control = async (
  upstream: string,
  method: "GET" | "POST" | "DELETE",
  script?: AnswerScript,
): Promise<UpstreamStats> => {
  const query = script === undefined ? "" : `?${encodeURIComponent(JSON.stringify(script))}`
  const answer = await fetch(`${upstream}/control${query}`, { method })
  return (await answer.json()) as UpstreamStats
}

/** Names and questions are used once, whichever job they are of. */
let lastName = 0
let lastQuestion = 0

/** How long the processes may calm down before something is measured, in milliseconds. */
const calm = 100

export const headOf = (headers: Readonly<Record<string, string>>): string =>
  [
    "POST /v1/responses HTTP/1.1",
    "host: 127.0.0.1",
    "authorization: Bearer test-key-a",
    "content-type: application/json",
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
  ].join("\r\n")

export const runTurns = async (job: TurnsJob): Promise<TurnsResult> => {
  const members = membersOf(job.members)
  const history = historyItems(job.history)
  const connect = (url: string) =>
    Promise.all(
      Array.from({ length: job.streams }, (): Promise<HttpConnection | SocketConnection> =>
        job.front === "http" ? HttpConnection.open(url) : SocketConnection.open(url, job.headers),
      ),
    )
  const connections = await connect(job.url)
  const openings = job.openAt === undefined ? connections : await connect(job.openAt)
  const measured = {
    turns: 0,
    wallMs: 0,
    cpu: 0,
    bodyBytes: 0,
    bytesUp: 0,
    upgrades: 0,
    needed: 0,
    load: 0,
    upstream: 0,
  }
  const firstMs: Array<number> = []
  const totalMs: Array<number> = []
  let counting = false

  const start = (): Conversation => begin(`s${++lastName}-${process.pid}`)

  const begin = (name: string): Conversation => {
    const growth = (job.added + 2048) * (job.continues ? job.turnsPerSession : 0)
    const conversation = new Conversation(name, members, job.history * 1.2 + growth)
    conversation.add([question(++lastQuestion), ...history])
    return conversation
  }

  const turn = async (connection: HttpConnection | SocketConnection, conversation: Conversation) => {
    const session =
      job.naming === "none" ? {} : { "session-id": job.naming === "turn" ? `t${++lastName}` : conversation.name }
    const body = conversation.body()
    const collect = job.continues
    const startedAt = performance.now()
    const answer = await connection.ask(headOf({ ...job.headers, ...session }), body, collect)
    if (counting) {
      measured.turns++
      measured.bodyBytes += body.length
      measured.needed += conversation.members + conversation.added
      firstMs.push(answer.firstAt - startedAt)
      totalMs.push(answer.endAt - startedAt)
    }
    conversation.turns++
    if (!job.continues) return
    const items = itemsOf(answer.text)
    conversation.append(items)
    const call = callOf(items)
    const seed = conversation.turns * 7919
    conversation.add([call === undefined ? question(seed) : toolOutput(call, seed, job.added)])
  }

  const next = (conversation: Conversation): Conversation => (job.continues ? conversation : begin(conversation.name))

  /** Each stream goes round its own conversations, a turn on each. */
  const round = async (conversations: ReadonlyArray<Conversation>, turns: number, over = connections) => {
    await Promise.all(
      over.map(async (connection, stream) => {
        for (let i = 0; i < turns; i++) {
          for (let at = stream; at < conversations.length; at += over.length) {
            await turn(connection, next(conversations[at]!))
          }
        }
      }),
    )
  }

  const open = async (): Promise<Array<Conversation>> => {
    await control(job.upstream, "POST", job.opening)
    const conversations: Array<Conversation> = []
    // In parts, so that the bodies of those that are only held open need not all be kept.
    while (conversations.length < job.sessions) {
      const part = Array.from({ length: Math.min(256, job.sessions - conversations.length) }, start)
      await round(part, 1, openings)
      conversations.push(...(job.turnsPerSession === 0 ? part.map(() => held) : part))
    }
    return conversations
  }

  const measure = async (work: () => Promise<void>) => {
    await setTimeout(calm)
    const before = await control(job.upstream, "POST", job.answer)
    const upstreamCpu = cpuNanos([job.upstreamPid])
    const ownCpu = cpuNanos([process.pid])
    const cpu = cpuNanos(job.pids)
    const startedAt = performance.now()
    counting = true
    await work()
    counting = false
    measured.wallMs += performance.now() - startedAt
    measured.cpu += cpuNanos(job.pids) - cpu
    measured.load += cpuNanos([process.pid]) - ownCpu
    measured.upstream += cpuNanos([job.upstreamPid]) - upstreamCpu
    const after = await control(job.upstream, "GET")
    measured.bytesUp += after.bytesUp - before.bytesUp
    measured.upgrades += after.upgrades - before.upgrades
  }

  try {
    if (job.measureOpening) {
      const conversations = Array.from({ length: job.sessions }, start)
      await measure(() => round(conversations, job.turnsPerSession))
    } else {
      let unused = await open()
      for (let epoch = 0; epoch < job.epochs; epoch++) {
        if (unused.length < job.active) {
          await control(job.upstream, "DELETE")
          await setTimeout(calm)
          unused = await open()
        }
        const active = unused.splice(0, job.active)
        await measure(() => round(active, job.turnsPerSession))
      }
    }
    if (!job.keep) await control(job.upstream, "DELETE")
  } finally {
    for (const connection of new Set([...connections, ...openings])) connection.close()
  }
  const { cpu, load, needed, upstream, wallMs, ...counts } = measured
  return {
    ...counts,
    wallMs,
    events: counts.turns * eventCount(job.answer),
    cpuNanos: cpu,
    neededBytes: needed,
    firstMs: firstMs.sort((a, b) => a - b),
    totalMs: totalMs.sort((a, b) => a - b),
    loadBusy: load / 1e6 / wallMs,
    upstreamBusy: upstream / 1e6 / wallMs,
  }
}

const held = new Conversation("held", "", 0)
