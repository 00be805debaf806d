/**
 * The load process: a job a line on the standard input, its result a line on the standard output.
 *
 *     bun test/bench/processes/Load.ts
 */
import type { AbortResult, Job, JobAnswer, SocketsResult, TurnsResult } from "../Protocol.ts"
import { runAborts } from "./Aborts.ts"
import { inputLines } from "./Lines.ts"
import { openSockets } from "./Sockets.ts"
import { runTurns } from "./Turns.ts"

const resultOf = (job: Job): Promise<TurnsResult | AbortResult | SocketsResult> => {
  switch (job._tag) {
    case "Turns":
      return runTurns(job)
    case "Abort":
      return runAborts(job)
    case "Sockets":
      return openSockets(job)
  }
}

const run = async (job: Job): Promise<JobAnswer<TurnsResult | AbortResult | SocketsResult>> => {
  try {
    return { _tag: "Done", result: await resultOf(job) }
  } catch (cause) {
    return { _tag: "Failed", message: cause instanceof Error ? cause.message : String(cause) }
  }
}

console.log("load ready")
for await (const line of inputLines()) console.log(JSON.stringify(await run(JSON.parse(line) as Job)))
process.exit(0)
