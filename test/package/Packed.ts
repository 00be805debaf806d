/**
 * The package as npm would get it, built and packed, and a folder of an app that has installed it.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { Context, Data, Effect, FileSystem, Layer } from "effect"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { run } from "../support/Child.ts"

export const root = fileURLToPath(new URL("../../", import.meta.url))

class PackError extends Data.TaggedError("PackError")<{ readonly message: string }> {}

const must = Effect.fnUntraced(function* (command: ReadonlyArray<string>, cwd: string) {
  const { code, stderr, stdout } = yield* run(command, { cwd, env: process.env })
  if (code !== 0) return yield* new PackError({ message: `${command.join(" ")}: ${stdout}${stderr}` })
  return stdout
})

/** Builds and packs into the folder, and gives the path of the tarball. */
export const pack = Effect.fnUntraced(function* (folder: string) {
  yield* must([process.execPath, "pm", "pack", "--quiet", "--destination", folder], root)
  const fs = yield* FileSystem.FileSystem
  const [tarball = ""] = (yield* fs.readDirectory(folder)).filter((name) => name.endsWith(".tgz"))
  return `${folder}/${tarball}`
})

/** What the app has installed beside respool: everything that this project has, but for respool itself. */
const installed = [
  "effect",
  "@effect/platform-node-shared",
  "ws",
  "openai",
  "ai",
  "zod",
  "@ai-sdk/openai",
  "@openai/agents",
  "@types/node",
  "vitest",
]

export class App extends Context.Service<App, { readonly folder: string }>()("test/App") {
  /** An app in a folder outside of the repository, with the packed respool in its `node_modules`. */
  static readonly layer = Layer.effect(
    App,
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-app-" })
      const modules = `${folder}/node_modules`
      for (const scope of ["@ai-sdk", "@effect", "@openai", "@types"])
        yield* fs.makeDirectory(`${modules}/${scope}`, { recursive: true })
      for (const name of installed) yield* fs.symlink(`${root}node_modules/${name}`, `${modules}/${name}`)
      const tarball = yield* pack(folder)
      yield* must(["tar", "-xzf", tarball, "-C", modules], folder)
      yield* fs.rename(`${modules}/package`, `${modules}/respool`)
      yield* fs.copy(`${root}test/package/consumer`, `${folder}/src`)
      yield* fs.writeFileString(`${folder}/package.json`, `{"name":"app","type":"module","private":true}`)
      return App.of({ folder })
    }),
  ).pipe(Layer.provide(NodeFileSystem.layer))
}

interface Manifest {
  readonly version: string
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Leaves the app as `npm install` would after a later patch of effect: one copy, for the app and for all in it. */
export const takeNextPatch = Effect.fnUntraced(function* (folder: string) {
  const fs = yield* FileSystem.FileSystem
  const modules = `${folder}/node_modules`
  for (const name of ["effect", "@effect/platform-node-shared"]) {
    yield* fs.remove(`${modules}/${name}`)
    yield* fs.copy(`${root}node_modules/${name}`, `${modules}/${name}`)
    const { dependencies = {} } = JSON.parse(yield* fs.readFileString(`${modules}/${name}/package.json`)) as Manifest
    for (const other of Object.keys(dependencies)) {
      if (yield* fs.exists(`${modules}/${other}`)) continue
      yield* fs.makeDirectory(dirname(`${modules}/${other}`), { recursive: true })
      yield* fs.symlink(`${root}node_modules/${other}`, `${modules}/${other}`)
    }
  }
  const path = `${modules}/effect/package.json`
  const told = JSON.parse(yield* fs.readFileString(path)) as Manifest
  const version = told.version.replace(/\d+$/, (patch) => String(Number(patch) + 1))
  yield* fs.writeFileString(path, JSON.stringify({ ...told, version }))
  return version
})
