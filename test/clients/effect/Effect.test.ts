import { describe, it } from "@effect/vitest"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Part } from "../../../src/simulator/Simulator.ts"
import { continuesOnSocket } from "../Continues.ts"
import { conversation, questions } from "../Script.ts"

const installed = existsSync(fileURLToPath(new URL("node_modules/@effect/ai-openai", import.meta.url)))
const whySkipped = installed ? "" : ": skipped, for `npx bun install --cwd test/clients/effect` was not run"

const call = (name: string, place: string): Part => ({
  _tag: "FunctionCall",
  name,
  arguments: `{"place":${JSON.stringify(place)}}`,
})

const script = conversation([
  [call("look_up", "Reykjavík"), call("measure", "Val d’Isère")],
  [call("measure", "both")],
  [call("look_up", "once more"), call("look_up", "and again")],
  [call("look_up", "tomorrow")],
])

/** The program of this folder, as a process of its own, since it needs another version of `effect`. */
const converse = async (baseURL: string): Promise<unknown> => {
  const program = fileURLToPath(new URL("talk.mjs", import.meta.url))
  const talk = Bun.spawn([process.execPath, program, baseURL, ...questions], {
    stdout: "pipe",
    stderr: "pipe",
    timeout: 30_000,
    killSignal: "SIGKILL",
  })
  const [out, error, code] = await Promise.all([
    new Response(talk.stdout).text(),
    new Response(talk.stderr).text(),
    talk.exited,
  ])
  if (code !== 0) throw new Error(`it ended with ${code}: ${error}\n${out}`)
  return JSON.parse(out) as unknown
}

describe("Effect's OpenAI client", () => {
  it.effect.skipIf(!installed)(`continues on a WebSocket of its own${whySkipped}`, () =>
    continuesOnSocket(converse, { script }),
  )
})
