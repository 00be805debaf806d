import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { readdirSync, readFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { leftOut, saying } from "./support/ByName.ts"
import { run } from "./support/Child.ts"

const root = fileURLToPath(new URL("..", import.meta.url))

const sources = readdirSync(`${root}src`, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))

/** What the check of imports says of the sources with these files added to them. */
const checked = Effect.fnUntraced(function* (planted: Readonly<Record<string, string>>) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-structure-" })
  yield* fs.copy(`${root}src`, `${folder}/src`)
  for (const name of ["package.json", "tsconfig.json", ".dependency-cruiser.mjs"]) {
    yield* fs.copy(`${root}${name}`, `${folder}/${name}`)
  }
  yield* fs.symlink(`${root}node_modules`, `${folder}/node_modules`)
  for (const [name, text] of Object.entries(planted)) {
    yield* fs.makeDirectory(dirname(`${folder}/src/${name}`), { recursive: true })
    yield* fs.writeFileString(`${folder}/src/${name}`, text)
  }
  const { code, stdout } = yield* run([process.execPath, "run", "check:imports"], { cwd: folder, env: process.env })
  return { code, said: stdout }
}, Effect.scoped)

describe("src", () => {
  it("has no file over 300 lines, and no folder with more than 15 files of its own", () => {
    const files = new Map<string, number>()
    for (const name of sources) {
      const lines = readFileSync(`${root}src/${name}`, "utf8").trimEnd().split("\n").length
      assert.isAtMost(lines, 300, name)
      files.set(dirname(name), (files.get(dirname(name)) ?? 0) + 1)
    }
    for (const [folder, count] of files) assert.isAtMost(count, 15, folder)
  })

  it("reads the wall clock only where a date is meant, and measures nothing by it", () => {
    const dates = new Map([
      ["turn/Elapsed.ts", "what ages while the machine sleeps"],
      ["upstream/credential/TokenFile.ts", "when a token expires"],
      ["upstream/credential/CodexAuth.ts", "when a token expires"],
      ["upstream/FallbackExecutor.ts", "when a warm-up's response was made"],
      ["observe/Traces.ts", "when a span began, which others order theirs by"],
      ["downstream/tenants/Ledger.ts", "when an id was recorded, which a restart must know"],
      ["downstream/auth/KeysFile.ts", "when a key was made"],
      ["page/main.ts", "when a turn ended, for a person"],
    ])
    const reads = /currentTime(Millis|Nanos)|\bDate\.now|\bnew Date\b|\bDateTime\.now/
    const found = sources.filter(
      (name) => !/^(simulator|testing)\//.test(name) && reads.test(readFileSync(`${root}src/${name}`, "utf8")),
    )
    assert.sameMembers(found, [...dates.keys()])
  })

  const why = leftOut(import.meta.url, "it starts the check of imports on a copy of the sources")
  it.effect.skipIf(why !== undefined)(
    `does not pass its check with arrows against the plan, nor with a circle of folders${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const { code, said } = yield* checked({
          "turn/Planted.ts": 'export { Settings } from "../config/Settings.ts"\n',
          // An arrow that is a type's only is one, too.
          "downstream/Planted.ts":
            'import type { Lease } from "../upstream/pool/Lease.ts"\nexport type Planted = Lease\n',
          "upstream/dialer/Planted.ts": 'export { Groups } from "../pool/Groups.ts"\n',
          "planted/Planted.ts": 'export { isTerminal } from "../wire/Event.ts"\n',
          // A circle of folders that is none of files.
          "turn/attempt/PlantedA.ts": "export const a = 1\n",
          "turn/attempt/PlantedB.ts": 'export { c } from "../memory/PlantedC.ts"\n',
          "turn/memory/PlantedC.ts": "export const c = 1\n",
          "turn/memory/PlantedD.ts": 'export { a } from "../attempt/PlantedA.ts"\n',
        })
        assert.notStrictEqual(code, 0)
        for (const told of [
          "turn-imports: src/turn/Planted.ts → src/config/Settings.ts",
          "downstream-imports: src/downstream/Planted.ts → src/upstream/pool/Lease.ts",
          "upstream-dialer-imports: src/upstream/dialer/Planted.ts → src/upstream/pool/Groups.ts",
          "known-room: src/planted/Planted.ts → src/wire/Event.ts",
        ]) {
          assert.include(said, `error ${told}`)
        }
        assert.match(said, /error no-circle-of-folders: src\/turn\/(attempt|memory) →/)
      }).pipe(Effect.provide(NodeFileSystem.layer)),
  )
})
