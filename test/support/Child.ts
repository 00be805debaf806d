/**
 * Programs as processes of their own, each killed with the scope that started it.
 */
import { Effect } from "effect"
import { fileURLToPath } from "node:url"

interface Options {
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * What Bun has made of the sources of one process spares the next one a third of its start. It goes by content, so a file
 * that was changed is read anew.
 */
const cache = {
  BUN_RUNTIME_TRANSPILER_CACHE_PATH: fileURLToPath(new URL("../../node_modules/.cache/bun", import.meta.url)),
}

export const spawn = (command: ReadonlyArray<string>, { cwd, env }: Options) =>
  Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn([...command], { cwd, env: { ...cache, ...env }, stdin: "ignore", stdout: "pipe", stderr: "pipe" }),
    ),
    (child) =>
      Effect.promise(async () => {
        child.kill("SIGKILL")
        await child.exited
      }),
  )

/** Runs to the end. */
export const run = Effect.fnUntraced(function* (command: ReadonlyArray<string>, options: Options) {
  const child = yield* spawn(command, options)
  return yield* Effect.promise(async () => {
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
    return { code, stdout, stderr }
  })
}, Effect.scoped)
