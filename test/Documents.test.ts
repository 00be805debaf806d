import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem } from "effect"
import { fileURLToPath } from "node:url"
import { environmentName, rows, Settings } from "../src/config/Settings.ts"

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

  it.effect("shows upstreams that can be used as they are written there", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-readme-" })
      const [, json = ""] = /```json\n(\{\n {2}"upstreams"[^`]+)```/.exec(yield* read("../README.md")) ?? []
      const path = `${folder}/respool.json`
      // Only where its files lie is another: a test can't go to a folder without taking the others along.
      const here = json.replaceAll(
        /"((?:apiKey|token)File|codexAuth|tlsCa)": "(?:\/[^"]*\/)?([^"/]+)"/g,
        `"$1": "${folder}/$2"`,
      )
      yield* fs.writeFileString(path, here)
      for (const name of ["openai.key", "xai.key"]) yield* fs.writeFileString(`${folder}/${name}`, "test-key-a\n")
      yield* fs.writeFileString(`${folder}/ours.pem`, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
      yield* fs.writeFileString(`${folder}/auth.json`, '{"tokens":{"access_token":"test-token"}}')
      yield* fs.writeFileString(`${folder}/ours.token.json`, '{"accessToken":"test-token"}', { mode: 0o600 })
      const provider = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { RESPOOL_CONFIG: path } }))
      const { upstreams } = yield* Settings.read.pipe(Effect.provide(provider))
      assert.deepStrictEqual(
        upstreams.map(({ credential, models, name, profile }) => [name, profile, models, credential._tag]),
        [
          ["openai", "openai", [], "Fixed"],
          ["grok", "xai", ["grok-*"], "Fixed"],
          ["codex", "codex", ["gpt-5.5-codex"], "CodexAuth"],
          ["ours", "custom", ["ours/*"], "TokenFile"],
        ],
      )
    }).pipe(Effect.provide(NodeFileSystem.layer)),
  )

  it.effect("names every reason that a turn can be given", () =>
    Effect.gen(function* () {
      const text = yield* read("../README.md")
      const sources = ["../src/turn/memory/Plan.ts", "../src/upstream/FallbackExecutor.ts"]
      for (const source of sources) {
        for (const [, reason] of (yield* read(source)).matchAll(/(?:\| |reason: |return |full\()"([a-z_]{6,})"/g)) {
          assert.include(text, `\`${reason}\``)
        }
      }
    }),
  )
})
