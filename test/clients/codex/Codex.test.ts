import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import type { Part } from "../../../src/simulator/Simulator.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"
import { TestProxy } from "../../support/TestProxy.ts"
import { continues, continuesOnSocket } from "../Continues.ts"
import { conversation, questions, turnCount } from "../Script.ts"
import { codexBinary, withCodex } from "./CodexExec.ts"

const binary = await codexBinary()
const whySkipped = binary === undefined ? ": skipped, for `npx bun install --cwd test/clients/codex` was not run" : ""

const run = (text: string): Part => ({
  _tag: "FunctionCall",
  name: "exec_command",
  arguments: `{ "yield_time_ms": 10000, "cmd": "echo '${text}'",  "login": false }`,
})

/** A tool that `codex exec` refuses to run, with objects in its arguments. */
const question: Part = {
  _tag: "FunctionCall",
  name: "request_user_input",
  arguments: `{"questions": [{"question": "Which, \\u0061 or b?", "options": [{"label": "a", "description": "the first, «ç—✓»"}, {"label": "b", "description": "the other"}], "id": "which",  "header": "Which"}]}`,
}

const patch: Part = {
  _tag: "CustomToolCall",
  name: "apply_patch",
  input: '*** Begin Patch\n*** Add File: note.txt\n+{"a":  1}\n*** End Patch\n',
}

const picture: Part = { _tag: "FunctionCall", name: "view_image", arguments: `{"path":  "dot.png"}` }

const script = conversation([
  [run("one,  two"), question],
  [patch],
  [picture, run("three: 3"), question],
  [run("four")],
])

const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

/** The directories, the ids that the client makes and how long a command took are others in every session. */
const steady = (text: string): string =>
  text
    .replaceAll(/codex-(home|work)-\w{6}/g, "$1")
    .replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "UUID")
    .replaceAll(/Chunk ID: \w+/g, "Chunk ID")
    .replaceAll(/Wall time: [\d.]+/g, "Wall time")

const converse = (websockets: boolean) => (baseURL: string) =>
  withCodex(
    binary ?? "",
    baseURL,
    async ({ ask, directory, strayed }) => {
      await Bun.write(join(directory, "dot.png"), Buffer.from(dot, "base64"))
      const told: Array<unknown> = []
      for (const text of questions) told.push(...(await ask(text)))
      assert.deepStrictEqual(strayed, [])
      return told
    },
    websockets,
  )

describe("the Codex CLI", () => {
  it.effect.skipIf(binary === undefined)(`continues over the processes of one session${whySkipped}`, () =>
    continues(converse(false), { script, steady }),
  )

  it.effect.skipIf(binary === undefined)(`continues on WebSockets of its own, with their warm-ups${whySkipped}`, () =>
    continuesOnSocket(converse(true), { script, steady }),
  )

  it.effect.skipIf(binary === undefined)(
    `goes on over HTTP where its message is too large for a socket${whySkipped}`,
    () =>
      Effect.gen(function* () {
        const { logged, url } = yield* TestProxy
        const { counters } = yield* Simulator
        const told = yield* Effect.promise(() => converse(true)(url))
        assert.include(JSON.stringify(told), "2.1 after: ")
        assert.isAtLeast(logged.filter((line) => line.includes("code=request_too_large")).length, questions.length)
        const turns = logged.filter((line) => line.includes("message=turn"))
        assert.deepStrictEqual(
          turns.map((line) => /input=(\w+)/.exec(line)?.[1]),
          turns.map((_, index) => (index === 0 ? "full" : "suffix")),
        )
        assert.deepStrictEqual([turns.length, counters.upgrades], [turnCount, 1])
      }).pipe(Effect.provide(TestProxy.layer({ settings: { maxClientMessage: 1_000 }, simulator: { script } }))),
  )
})
