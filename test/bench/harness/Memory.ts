/**
 * Reads what a process holds in memory, once it has calmed down.
 */
import { Effect, FileSystem } from "effect"
import { BenchError } from "./Child.ts"

interface Memory {
  /** Proportional set size: what is shared counts in part. In bytes. */
  readonly pss: number
  readonly rss: number
}

const kilobytes = (text: string, name: string) => Number(new RegExp(`^${name}: +(\\d+) kB`, "m").exec(text)?.[1] ?? 0)

const memoryOf = Effect.fnUntraced(function* (pids: ReadonlyArray<number>) {
  const fs = yield* FileSystem.FileSystem
  let pss = 0
  let rss = 0
  for (const pid of pids) {
    const text = yield* Effect.mapError(
      fs.readFileString(`/proc/${pid}/smaps_rollup`),
      () => new BenchError({ message: "the target has ended" }),
    )
    pss += kilobytes(text, "Pss") * 1024
    rss += kilobytes(text, "Rss") * 1024
  }
  return { pss, rss } satisfies Memory
})

/** Reads until three seconds have changed less than a hundredth, from `least` to `most` seconds. */
export const settledMemory = Effect.fnUntraced(function* (
  pids: ReadonlyArray<number>,
  { least, most }: { readonly least: number; readonly most: number },
) {
  const seen: Array<Memory> = [yield* memoryOf(pids)]
  for (let second = 1; second <= most; second++) {
    yield* Effect.sleep("1 second")
    const now = yield* memoryOf(pids)
    seen.push(now)
    const before = seen.at(-4)
    if (second >= least && before !== undefined && Math.abs(now.pss - before.pss) < before.pss / 100) break
  }
  return seen.at(-1) ?? { pss: 0, rss: 0 }
})
