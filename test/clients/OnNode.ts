/**
 * The conversations of `Talks.ts` by Node, as a process of its own.
 */
import { fileURLToPath } from "node:url"
import { isFull, sample } from "../support/Runs.ts"
import type { Talk } from "./Talks.ts"

export const node = fileURLToPath(new URL("../../node_modules/node/bin/node", import.meta.url))

/** What a program writes, which must be one JSON value. */
export const written = async (command: ReadonlyArray<string>): Promise<unknown> => {
  const talk = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe", timeout: 60_000, killSignal: "SIGKILL" })
  const [out, error, code] = await Promise.all([
    new Response(talk.stdout).text(),
    new Response(talk.stderr).text(),
    talk.exited,
  ])
  if (code !== 0) throw new Error(`it ended with ${code}: ${error}\n${out}`)
  return JSON.parse(out) as unknown
}

const program = fileURLToPath(new URL("talk.ts", import.meta.url))

export const onNode = (talk: Talk) => (baseURL: string) =>
  written([node, "--disable-warning=ExperimentalWarning", program, JSON.stringify(talk), baseURL])

/** Each takes two starts of Node and of a client, so a few must do by hand. */
export const sampleOfNode = <A>(talks: ReadonlyArray<A>): ReadonlyArray<A> => sample(talks, 1 / 3)

/** For the names of tests. */
export const ofSample = isFull ? "" : " (of which a sample runs by hand)"
