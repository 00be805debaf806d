import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem } from "effect"
import { TestClock } from "effect/testing"
import { followFile } from "../../../src/upstream/credential/SecretFile.ts"

it.layer(NodeFileSystem.layer)("What we wrote into a file with a secret", (it) => {
  it.effect("stays in force, though a look under way has read what was before", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const path = `${yield* fs.makeTempDirectoryScoped({ prefix: "respool-secret-" })}/token`
      const write = (text: string) => fs.writeFileString(path, text, { mode: 0o600 })
      const hasRead = yield* Deferred.make<void>()
      const goOn = yield* Deferred.make<void>()
      let slow = false
      const readFileString: typeof fs.readFileString = (path, encoding) =>
        Effect.tap(fs.readFileString(path, encoding), () =>
          slow ? Effect.andThen(Deferred.succeed(hasRead, undefined), Deferred.await(goOn)) : Effect.void,
        )
      const options = { parse: (text: string) => text, expected: "a text", mayBeOpen: false }
      const file = followFile({ ...fs, readFileString }, path, options)
      yield* write("one")
      assert.strictEqual(yield* file.current, "one")

      yield* write("two, of another length")
      slow = true
      yield* TestClock.adjust("1 second")
      const look = yield* Effect.forkChild(file.current)
      yield* Deferred.await(hasRead)
      yield* write("three")
      const wrote = yield* Effect.forkChild(file.wrote("three"), { startImmediately: true })
      yield* Effect.yieldNow
      yield* Deferred.succeed(goOn, undefined)
      yield* Effect.all([Fiber.join(look), Fiber.join(wrote)])
      assert.strictEqual(yield* file.current, "three")
    }),
  )
})
