/**
 * The processes beside the targets: the fast upstream, the load and the relay.
 */
import { Effect } from "effect"
import type {
  AbortJob,
  AbortResult,
  Job,
  JobAnswer,
  SocketsJob,
  SocketsResult,
  TurnsJob,
  TurnsResult,
} from "../Protocol.ts"
import { BenchError, program, start } from "./Child.ts"

/** No job may take longer. */
const jobWithin = "10 minutes"

const here = Bun.fileURLToPath(new URL("../", import.meta.url))

interface Running {
  readonly url: string
  readonly pid: number
}

export const startUpstream = Effect.gen(function* () {
  const child = yield* start(program(new URL("../processes/FastUpstream.ts", import.meta.url)), { cwd: here })
  return { url: yield* child.printed(/^upstream (\S+)$/), pid: child.pid } satisfies Running
})

/** 80 ms there and back, 10 Mbit/s up. */
export const startRelay = Effect.fnUntraced(function* (upstream: string) {
  const args = [new URL(upstream).port, "80", "10000000"]
  const child = yield* start(program(new URL("../processes/Relay.ts", import.meta.url), args), { cwd: here })
  return { url: yield* child.printed(/^relay (\S+)$/), pid: child.pid } satisfies Running
})

interface Load {
  readonly turns: (job: TurnsJob) => Effect.Effect<TurnsResult, BenchError>
  readonly aborts: (job: AbortJob) => Effect.Effect<AbortResult, BenchError>
  readonly sockets: (job: SocketsJob) => Effect.Effect<SocketsResult, BenchError>
}

export const startLoad = Effect.gen(function* () {
  const child = yield* start(program(new URL("../processes/Load.ts", import.meta.url)), { cwd: here })
  yield* child.printed(/^load ready$/)
  const run = <A>(job: Job) =>
    child.ask(JSON.stringify(job)).pipe(
      Effect.timeoutOrElse({
        duration: jobWithin,
        orElse: () => Effect.fail(new BenchError({ message: `a job took longer than ${jobWithin}` })),
      }),
      Effect.flatMap((line) => {
        const answer = JSON.parse(line) as JobAnswer<A>
        return answer._tag === "Done"
          ? Effect.succeed(answer.result)
          : Effect.fail(new BenchError({ message: answer.message.slice(0, 500) }))
      }),
    )
  return { turns: run<TurnsResult>, aborts: run<AbortResult>, sockets: run<SocketsResult> } satisfies Load
})
