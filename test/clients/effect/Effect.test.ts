import { describe, it } from "@effect/vitest"
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Part } from "../../../src/simulator/Simulator.ts"
import { continuesOnSocket } from "../Continues.ts"
import { node, written } from "../OnNode.ts"
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
const converse = (runtime: string) => (baseURL: string) =>
  written([runtime, fileURLToPath(new URL("talk.mjs", import.meta.url)), baseURL, ...questions])

describe("Effect's OpenAI client", () => {
  for (const [name, runtime] of [
    ["Bun", process.execPath],
    ["Node", node],
  ] as const) {
    it.effect.skipIf(!installed)(`continues on a WebSocket of its own on ${name}${whySkipped}`, () =>
      continuesOnSocket(converse(runtime), { script }),
    )
  }
})
