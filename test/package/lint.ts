/**
 * `bun run check:package`: builds and packs respool, and has publint and attw look at the tarball. Prints what they find.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime"
import { Console, Data, Effect, FileSystem } from "effect"
import { run } from "../support/Child.ts"
import { pack, root } from "./Packed.ts"

class Found extends Data.TaggedError("Found")<{ readonly message: string }> {}

/** Neither says anything of a package that is right; of the ways to load one, only that of CommonJS is not ours. */
const linters = [
  ["node_modules/.bin/publint", "run", "--strict"],
  ["node_modules/.bin/attw", "--quiet", "--profile", "esm-only"],
]

const program = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const tarball = yield* pack(yield* fs.makeTempDirectoryScoped({ prefix: "respool-pack-" }))
  for (const [linter = "", ...options] of linters) {
    const { code, stderr, stdout } = yield* run([process.execPath, "--bun", linter, ...options, tarball], {
      cwd: root,
      env: process.env,
    })
    if (code !== 0) {
      yield* Console.log(stdout, stderr)
      return yield* new Found({ message: `${linter} found what is above` })
    }
  }
})

program.pipe(
  Effect.scoped,
  Effect.provide(NodeFileSystem.layer),
  Effect.tapError((error) => Console.error(`check:package: ${error.message}`)),
  NodeRuntime.runMain({ disableErrorReporting: true }),
)
