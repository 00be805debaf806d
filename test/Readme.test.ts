import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { fileURLToPath } from "node:url"
import { environmentName, rows } from "../src/Settings.ts"

const read = (relative: string) =>
  Effect.flatMap(FileSystem.FileSystem, (fs) =>
    fs.readFileString(fileURLToPath(new URL(relative, import.meta.url))),
  ).pipe(Effect.provide(NodeFileSystem.layer))

describe("README.md", () => {
  it.effect("shows the embedding example as it is", () =>
    Effect.gen(function* () {
      assert.include(yield* read("../README.md"), `\`\`\`ts\n${yield* read("./examples/embed.ts")}\`\`\``)
    }),
  )

  it.effect("lists every setting with its default, its meaning and what is allowed", () =>
    Effect.gen(function* () {
      const text = yield* read("../README.md")
      for (const [name, { about, allowed, shown }] of Object.entries(rows)) {
        const fallback = shown === "" ? "" : `\`${shown}\``
        assert.include(
          text,
          `| \`${environmentName(name)}\` | ${fallback} | ${about}; ${allowed.replaceAll("|", "\\|")} |`,
        )
      }
    }),
  )

  it.effect("names every reason that a turn can be given", () =>
    Effect.gen(function* () {
      const text = yield* read("../README.md")
      const sources = ["../src/turn/Plan.ts", "../src/upstream/FallbackExecutor.ts"]
      for (const source of sources) {
        for (const [, reason] of (yield* read(source)).matchAll(/(?:\| |reason: |return |full\()"([a-z_]{6,})"/g)) {
          assert.include(text, `\`${reason}\``)
        }
      }
    }),
  )
})
