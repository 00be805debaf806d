import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, FileSystem } from "effect"
import { existsSync, readdirSync } from "node:fs"
import { dirname, join } from "node:path"
import packageJson from "../package.json" with { type: "json" }
import { environmentName, rows, Settings } from "../src/config/Settings.ts"
import { TurnErrorReason } from "../src/turn/TurnError.ts"
import { anchorOf, blocks, codeSpans, headings, links, paths, typed } from "./documents/Markdown.ts"
import { generated, manual, pages, read, root } from "./documents/Pages.ts"
import { folder, run } from "./support/Command.ts"
import { sample } from "./support/Runs.ts"

const inSources = (extension: string): ReadonlyArray<string> =>
  ["src", "test"].flatMap((top) =>
    readdirSync(`${root}${top}`, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(extension) && !name.includes("node_modules"))
      .map((name) => `${top}/${name}`),
  )

/** The sources, but for those that are about the pages themselves. */
const sources = inSources(".ts").filter((path) => !/^test\/(Documents\.test\.ts$|documents\/)/.test(path))

describe.each(pages)("%s", (page) => {
  const text = read(page)

  it("links to pages and headings that are there", () => {
    for (const link of links(text)) {
      const [file = "", anchor] = link.split("#")
      const target = file === "" ? page : join(dirname(page), file)
      assert.isTrue(existsSync(`${root}${target}`), link)
      if (anchor !== undefined) assert.include(headings(read(target)).map(anchorOf), anchor, link)
    }
  })

  it("names files that are there", () => {
    for (const path of paths(text)) assert.isTrue(existsSync(`${root}${path}`), path)
    const names = new Set(inSources(".ts").map((path) => path.split("/").at(-1)))
    for (const span of codeSpans(text)) {
      const file = /^[\w./-]*?(\w[\w.]*\.ts)$/.exec(span)?.[1]
      if (file !== undefined) assert.isTrue(names.has(file), span)
    }
  })

  it("names settings that there are", () => {
    const known = new Set([...Object.keys(rows).map(environmentName), "RESPOOL_CONFIG", "RESPOOL_"])
    for (const [name] of text.matchAll(/\bRESPOOL_[A-Z_]*/g)) assert.isTrue(known.has(name), name)
  })

  it("names scripts of package.json, and the versions that it pins", () => {
    const scripts = Object.keys(packageJson.scripts)
    for (const command of typed(text)) {
      for (const [, script = ""] of command.matchAll(/\bbun run ([a-z:]+)/g)) assert.include(scripts, script, command)
    }
    const pinned: Readonly<Record<string, string>> = { ...packageJson.dependencies, ...packageJson.devDependencies }
    for (const [, name = "", version] of text.matchAll(/\b(bun|effect)@([\d.]*\d)/g)) {
      assert.strictEqual(version, pinned[name], name)
    }
  })
})

describe.each(manual)("%s", (page) => {
  it("shows what is made of the sources as it would be made now: `bun run docs` writes it", () => {
    assert.strictEqual(read(page), generated(read(page)))
  })

  it("shows no code that no test has run", () => {
    const text = read(page)
    const snippets = [...text.matchAll(/^<!-- snippet (\S+)(?: \S+)? -->\n```ts$/gm)].map(([, path = ""]) => path)
    assert.lengthOf(snippets, ["ts", "js", "tsx", "typescript"].flatMap((language) => blocks(text, language)).length)
    for (const path of snippets) {
      const name = path.split("/").at(-1) ?? ""
      const tests = inSources(".test.ts").filter((test) => test === path || read(test).includes(`"./${name}"`))
      assert.isNotEmpty(tests, path)
    }
  })
})

describe("The sources", () => {
  it("cite pages and sections that are there", () => {
    let cited = 0
    for (const path of sources) {
      // A comment goes on behind the star of its next line.
      const text = read(path).replaceAll(/\n *(?:\*|\/\/) /g, " ")
      for (const [name] of text.matchAll(/[\w./-]*\w\.md\b/g)) {
        assert.match(name, /^docs\/[\w-]+\.md$|(^|\/)README\.md$/, `${path} names ${name}`)
      }
      for (const [, page = "", place = ""] of text.matchAll(/\b(docs\/[\w-]+\.md)([^)\n]{0,60})/g)) {
        const where = `${path} cites ${page}${place}`
        const numbers = /^ (\d[\d.]*(?:(?:,| and| to) \d[\d.]*)*)/.exec(place)?.[1]?.match(/\d+(?:\.\d+)?/g)
        const heading = /^, (.+)$/.exec(place)?.[1]
        assert.isTrue(numbers !== undefined || heading !== undefined, where)
        const there = headings(read(page))
        if (heading !== undefined) assert.include(there, heading, where)
        for (const number of numbers ?? []) {
          assert.isTrue(
            there.some((text) => text.startsWith(`${number} `) || text.startsWith(`${number}. `)),
            where,
          )
        }
        cited++
      }
    }
    assert.isAbove(cited, 40)
  })
})

describe("README.md", () => {
  it("has at most 8,192 bytes", () => {
    assert.isAtMost(Buffer.byteLength(read("README.md")), 8192)
  })

  it("gives figures of the benchmark's page", () => {
    const figures = [...read("README.md").matchAll(/\*\*(\d[\d.]*)\*\*/g)].map(([, figure = ""]) => figure)
    assert.isAtLeast(figures.length, 3)
    for (const figure of figures) {
      assert.match(read("test/bench/README.md"), new RegExp(`(^|[^\\d.])${figure.replace(".", "\\.")}([^\\d.]|$)`))
    }
  })

  it.effect("shows what its first command prints", () =>
    Effect.gen(function* () {
      const [command = ""] = blocks(read("README.md"), "sh")
      assert.strictEqual(command, "bun install && bun run demo\n")
      assert.strictEqual(packageJson.scripts.demo, "bun src/main.ts demo")
      const { code, stdout } = yield* run(["demo"], { cwd: yield* folder })
      assert.strictEqual(code, 0)
      const printed = stdout.split("\n").map((line) => line.replace(/[\d.]+ ms$/, "…"))
      const [shown = ""] = blocks(read("README.md"), "").filter((block) => block.startsWith("turn "))
      const lines = shown.split("\n").filter((line) => line.trim() !== "…")
      assert.isAbove(lines.length, 8)
      for (const line of lines) assert.include(printed, line)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})

describe("The pages", () => {
  it.effect("name commands and flags that respool has", () =>
    Effect.gen(function* () {
      const flags = new Map<string, Set<string>>()
      for (const text of pages.flatMap((page) => typed(read(page)))) {
        for (const [, rest = ""] of text.matchAll(/(?:^|[\w.…] )respool ([a-z][^`#]*)/g)) {
          const words = /^[a-z]+(?: [a-z]+)*/.exec(rest)?.[0] ?? ""
          const known = flags.get(words) ?? new Set<string>()
          for (const [, flag = ""] of rest.matchAll(/--(?:no-)?([a-z]+)/g)) known.add(flag)
          flags.set(words, known)
        }
      }
      assert.includeMembers([...flags.keys()], ["serve", "check", "demo", "keys add", "simulator"])
      const cwd = yield* folder
      // Each is a process of its own, so by hand it is a third of them.
      yield* Effect.forEach(
        sample([...flags], 1 / 3),
        Effect.fnUntraced(function* ([words, flags]) {
          const { code, stdout } = yield* run([...words.split(" "), "--help"], { cwd })
          assert.strictEqual(code, 0, words)
          assert.include(stdout, `USAGE\n  respool ${words}`)
          for (const flag of flags) assert.include(stdout, `--${flag}`, words)
        }),
        { concurrency: 2 },
      )
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})

describe("docs/operate.md", () => {
  const text = read("docs/operate.md")

  it("names every reason that a turn can be given", () => {
    const retries = /export type RetryReason =([^]*?)\n\n/.exec(read("src/turn/attempt/Recovery.ts"))?.[1] ?? ""
    const found = [read("src/turn/memory/Plan.ts"), retries, read("src/upstream/FallbackExecutor.ts")].flatMap(
      (source) =>
        [...source.matchAll(/(?:\| |const \w+ = |reason: |return |full\()"([a-z_]{6,})"/g)].map(([, reason]) => reason),
    )
    assert.isAbove(found.length, 15)
    for (const reason of found) assert.include(text, `\`${reason}\``)
  })

  it("names every error that a turn can end with", () => {
    for (const reason of TurnErrorReason.literals) assert.include(text, `\`${reason}\``)
  })
})

/** Settings as a file of that text says them. */
const settingsOf = Effect.fnUntraced(function* (path: string, json: string) {
  const fs = yield* FileSystem.FileSystem
  yield* fs.writeFileString(path, json)
  const provider = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { RESPOOL_CONFIG: path } }))
  return yield* Settings.read.pipe(Effect.provide(provider))
})

describe("respool.json", () => {
  it.effect("can be used as docs/settings.md shows it", () =>
    Effect.gen(function* () {
      const [json = ""] = blocks(read("docs/settings.md"), "json")
      const settings = yield* settingsOf(`${yield* folder}/respool.json`, json)
      assert.strictEqual(settings.maxBody, 64 * 1024 * 1024)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it.effect("can be used as docs/upstreams.md shows it", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const files = yield* folder
      const [json = ""] = blocks(read("docs/upstreams.md"), "json")
      // Only where its files lie is another: a test can't go to a folder without taking the others along.
      const here = json.replaceAll(
        /"((?:apiKey|token)File|codexAuth|tlsCa)": "(?:\/[^"]*\/)?([^"/]+)"/g,
        `"$1": "${files}/$2"`,
      )
      for (const name of ["openai.key", "xai.key"]) {
        yield* fs.writeFileString(`${files}/${name}`, "test-key-a\n", { mode: 0o600 })
      }
      yield* fs.writeFileString(`${files}/ours.pem`, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
      yield* fs.writeFileString(`${files}/auth.json`, '{"tokens":{"access_token":"test-token"}}')
      yield* fs.writeFileString(`${files}/ours.token.json`, '{"accessToken":"test-token"}', { mode: 0o600 })
      const { upstreams } = yield* settingsOf(`${files}/respool.json`, here)
      assert.deepStrictEqual(
        upstreams.map(({ credential, models, name, profile }) => [name, profile, models, credential._tag]),
        [
          ["openai", "openai", [], "Fixed"],
          ["grok", "xai", ["grok-*"], "Fixed"],
          ["codex", "codex", ["gpt-5.5-codex"], "CodexAuth"],
          ["ours", "custom", ["ours/*"], "TokenFile"],
        ],
      )
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})
