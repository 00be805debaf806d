import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import { leftOut, saying } from "../support/ByName.ts"
import { run } from "../support/Child.ts"
import { startProgram } from "../support/Command.ts"
import { root } from "./Packed.ts"

const why = leftOut(import.meta.url, "it builds an executable file")

describe.skipIf(why !== undefined)(`The one executable file${saying(why)}`, () => {
  it.live("has all in it: the demo, the simulator, the proxy and its page", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-binary-" })
      const file = `${folder}/respool`
      const built = yield* run([process.execPath, `${root}test/package/binary.ts`, file], {
        cwd: root,
        env: process.env,
      })
      assert.strictEqual(built.code, 0, built.stderr)
      const env = { HOME: folder, NO_COLOR: "1" }
      const version = yield* run([file, "--version"], { cwd: folder, env })
      assert.include(version.stdout, packageJson.version)
      const demo = yield* run([file, "demo", "--json"], { cwd: folder, env })
      assert.strictEqual(demo.code, 0, demo.stderr)
      const { dials, ok, suffixTurns } = JSON.parse(demo.stdout) as Readonly<Record<string, unknown>>
      assert.deepStrictEqual({ dials, ok, suffixTurns }, { dials: 1, ok: true, suffixTurns: 19 })
      const served = yield* startProgram([file, "serve", "--port", "0"], { cwd: folder, env })
      const address = yield* served.printed(/(http:\/\/127\.0\.0\.1:\d+)/)
      const page = yield* Effect.promise(() => fetch(`${address}/_respool/`))
      const text = yield* Effect.promise(() => page.text())
      assert.strictEqual(page.status, 200)
      assert.match(text, /<script type="module">[^<]{1000}/)
      assert.match(page.headers.get("content-security-policy") ?? "", /script-src 'sha256-/)
      yield* served.signal("SIGTERM")
      assert.strictEqual(yield* served.exitCode, 0)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )
})
