/**
 * The load of an abort storm: turns that the client gives up after their first event.
 */
import { setTimeout } from "node:timers/promises"
import type { AbortJob, AbortResult } from "../Protocol.ts"
import { Conversation } from "./Conversation.ts"
import { cpuNanos } from "./CpuClock.ts"
import { membersOf, question } from "./History.ts"
import { HttpConnection } from "./HttpConnection.ts"
import { control, headOf } from "./Turns.ts"

/** How long the target may take to close its sockets, in milliseconds. */
const closing = 2000

export const runAborts = async (job: AbortJob): Promise<AbortResult> => {
  await control(job.upstream, "POST", { kind: "endless", deltas: 0, perSecond: 0, burst: true })
  const before = (await control(job.upstream, "GET")).turns
  const cpu = cpuNanos(job.pids)
  const startedAt = performance.now()
  let left = job.turns
  const storm = async () => {
    while (left-- > 0) {
      const name = `abort-${left}-${process.pid}`
      const conversation = new Conversation(name, membersOf(0), 0)
      conversation.add([question(left)])
      const connection = await HttpConnection.open(job.url)
      await connection.abandon(headOf({ ...job.headers, "session-id": name }), conversation.body())
    }
  }
  await Promise.all(Array.from({ length: job.streams }, storm))
  const wallMs = performance.now() - startedAt
  let { sockets, turns } = await control(job.upstream, "GET")
  for (let wait = 0; wait < closing && sockets > 0; wait += 50) {
    await setTimeout(50)
    ;({ sockets, turns } = await control(job.upstream, "GET"))
  }
  return { aborted: turns - before, wallMs, cpuNanos: cpuNanos(job.pids) - cpu, socketsLeft: sockets }
}
