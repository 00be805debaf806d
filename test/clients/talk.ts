/**
 * Holds one of the conversations of `Talks.ts`, named as JSON, with the upstream at an address, and writes all that was
 * told as one JSON value. Node 22 runs it.
 */
import type { Talk } from "./Talks.ts"
import { talkOf } from "./Talks.ts"

const [named = "", baseURL = ""] = process.argv.slice(2)

const told = await talkOf(JSON.parse(named) as Talk)(baseURL)
process.stdout.write(JSON.stringify(told), () => process.exit(0))
