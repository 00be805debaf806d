import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem } from "effect"
import { gone, LastLook, lookAt, replaceFile } from "../../src/config/Files.ts"

const inFolder = Effect.flatMap(FileSystem.FileSystem, (fs) =>
  Effect.map(fs.makeTempDirectoryScoped({ prefix: "respool-files-" }), (folder) => ({
    fs,
    folder,
    path: `${folder}/file`,
  })),
)

it.layer(NodeFileSystem.layer)("A look at a file", (it) => {
  it.effect(
    "has another stamp once it is written, opened to others, replaced or gone, and the same one till then",
    () =>
      Effect.gen(function* () {
        const { fs, path } = yield* inFolder
        const stamps = new Set<string>()
        const isAnother = Effect.gen(function* () {
          const { stamp } = yield* lookAt(fs, path)
          assert.strictEqual((yield* lookAt(fs, path)).stamp, stamp)
          assert.isFalse(stamps.has(stamp))
          stamps.add(stamp)
        })
        yield* fs.writeFileString(path, "one", { mode: 0o600 })
        yield* isAnother
        yield* fs.writeFileString(path, "one and more")
        yield* isAnother
        yield* fs.chmod(path, 0o644)
        yield* isAnother
        const { mtime } = yield* Effect.promise(() => Bun.file(path).stat())
        yield* fs.writeFileString(`${path}.other`, "of equal len", { mode: 0o644 })
        yield* fs.chmod(`${path}.other`, 0o644)
        yield* fs.utimes(`${path}.other`, mtime, mtime)
        yield* fs.rename(`${path}.other`, path)
        yield* isAnother
        yield* fs.remove(path)
        assert.deepStrictEqual(yield* lookAt(fs, path), gone)
      }).pipe(Effect.scoped),
  )
})

describe("The last look", () => {
  it("is a second ago before the next, whichever way the clock was set, or forgotten", () => {
    const lastLook = new LastLook()
    assert.isTrue(lastLook.isDue(0))
    lastLook.was(10_000)
    assert.deepStrictEqual(
      [9_000, 9_001, 10_000, 10_999, 11_000].map((now) => lastLook.isDue(now)),
      [true, false, false, false, true],
    )
    assert.isFalse(lastLook.isDue(11_000, 2_000))
    lastLook.forget()
    assert.isTrue(lastLook.isDue(10_000))
  })
})

it.layer(NodeFileSystem.layer)("A file that is replaced", (it) => {
  it.effect("holds the new text, for its owner alone, with nothing beside it", () =>
    Effect.gen(function* () {
      const { folder, fs, path } = yield* inFolder
      yield* fs.writeFileString(path, "before", { mode: 0o644 })
      yield* replaceFile(fs, path, "after")
      assert.strictEqual(yield* fs.readFileString(path), "after")
      assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o600)
      assert.deepStrictEqual(yield* fs.readDirectory(folder), ["file"])
    }).pipe(Effect.scoped),
  )

  it.effect("holds the text before where it can't be, with nothing beside it", () =>
    Effect.gen(function* () {
      const { folder, fs, path } = yield* inFolder
      yield* fs.writeFileString(path, "before")
      // A file system that takes the text and then breaks.
      const rename: typeof fs.rename = (from) => fs.rename(from, `${folder}/no/where`)
      yield* Effect.flip(replaceFile({ ...fs, rename }, path, "after"))
      assert.strictEqual(yield* fs.readFileString(path), "before")
      assert.deepStrictEqual(yield* fs.readDirectory(folder), ["file"])
    }).pipe(Effect.scoped),
  )
})
