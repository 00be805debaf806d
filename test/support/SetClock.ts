/**
 * Loaded into a process before all else: at each SIGUSR2 its wall clock is set by the milliseconds that a file tells, ahead
 * of the machine's or behind it.
 */
import { readFileSync } from "node:fs"

const now = Date.now
const file = Bun.env["CLOCK_FILE"]
let ahead = 0

if (file !== undefined) {
  Date.now = () => now() + ahead
  process.on("SIGUSR2", () => {
    ahead = Number(readFileSync(file, "utf8"))
  })
}
