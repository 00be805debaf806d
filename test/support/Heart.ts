/**
 * Loaded into a proxy before all else: says once a second how long its event loop was held at most, in milliseconds of
 * CPU of its own thread, which other processes of the machine don't change.
 */
import { appendFileSync } from "node:fs"
import { setInterval } from "node:timers/promises"

const file = Bun.env["HEART_FILE"]

/** In milliseconds: what came within several rounds of the loop may count as one. */
const beatEvery = 5

const used = (): number => {
  const { system, user } = process.threadCpuUsage()
  return (system + user) / 1000
}

const beat = async (to: string) => {
  let before = used()
  let longest = 0
  let told = performance.now()
  for await (const _ of setInterval(beatEvery, undefined, { ref: false })) {
    const now = used()
    longest = Math.max(longest, now - before)
    before = now
    if (performance.now() - told < 1000) continue
    appendFileSync(to, `${longest.toFixed(1)}\n`)
    longest = 0
    told = performance.now()
  }
}

if (file !== undefined) void beat(file)
