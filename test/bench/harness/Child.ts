/**
 * The benchmark's processes, each ended with the scope that started it.
 */
import { Data, Effect, FileSystem } from "effect"
import type { Scope } from "effect"

export class BenchError extends Data.TaggedError("BenchError")<{ readonly message: string }> {}

export interface Child {
  readonly pid: number
  /** Waits for text on the standard output; gives what the first group matched. */
  readonly printed: (pattern: RegExp) => Effect.Effect<string, BenchError>
  /** Writes a line and waits for the line that answers it. */
  readonly ask: (line: string) => Effect.Effect<string, BenchError>
}

export interface ChildOptions {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  /** Asked to end first; killed where that does not help. */
  readonly gently?: boolean
}

/** Raises the soft limit of open files to the hard one; a process can't go beyond. */
const withFiles = ["sh", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@"', "sh"]

/** How long a process that was asked to end may take. */
const endWithin = "5 seconds"

const runtime = [process.execPath]

/** The command of a TypeScript program, with flags of the runtime. */
export const program = (url: URL, args: ReadonlyArray<string> = [], flags: ReadonlyArray<string> = []) => [
  ...runtime,
  ...flags,
  Bun.fileURLToPath(url),
  ...args,
]

export const start = Effect.fnUntraced(function* (
  command: ReadonlyArray<string>,
  { cwd, env = {}, gently = false }: ChildOptions,
): Effect.fn.Return<Child, BenchError, Scope.Scope | FileSystem.FileSystem> {
  const fs = yield* FileSystem.FileSystem
  // A log costs what it costs a user who keeps it in a file.
  const log = yield* Effect.orDie(fs.makeTempFileScoped({ prefix: "bench-log-" }))
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn([...withFiles, ...command], {
        cwd,
        env: { PATH: Bun.env["PATH"] ?? "", HOME: cwd, ...env },
        stdin: "pipe",
        stdout: "pipe",
        stderr: Bun.file(log),
      }),
    ),
    (child) =>
      Effect.gen(function* () {
        const exited = Effect.promise(() => child.exited)
        if (gently) {
          child.kill("SIGTERM")
          yield* Effect.timeoutOption(exited, endWithin)
        }
        child.kill("SIGKILL")
        yield* exited
      }),
  )
  const lines: Array<string> = []
  const looking = new Set<() => void>()
  const collect = async () => {
    const decoder = new TextDecoder()
    let rest = ""
    for await (const chunk of child.stdout) {
      const whole = (rest + decoder.decode(chunk, { stream: true })).split("\n")
      rest = whole.pop() ?? ""
      lines.push(...whole)
      for (const look of looking) look()
    }
  }
  const output = collect()

  const line = (found: (line: string) => string | undefined) =>
    Effect.callback<string, BenchError>((resume) => {
      const look = () => {
        for (let text = lines.shift(); text !== undefined; text = lines.shift()) {
          const value = found(text)
          if (value === undefined) continue
          looking.delete(look)
          return resume(Effect.succeed(value))
        }
      }
      looking.add(look)
      look()
      void output.then(async () => {
        // The log is gone if the scope has closed, and then nobody waits.
        const said = await Bun.file(log)
          .text()
          .then(
            (text) => text.slice(-1000),
            () => "",
          )
        resume(Effect.fail(new BenchError({ message: `${command.join(" ")} ended: ${said}` })))
      })
      return Effect.sync(() => looking.delete(look))
    })

  return {
    pid: child.pid,
    printed: (pattern) =>
      line((text) => {
        const match = pattern.exec(text)
        return match === null ? undefined : (match[1] ?? match[0])
      }).pipe(
        Effect.timeoutOrElse({
          duration: "30 seconds",
          orElse: () => Effect.fail(new BenchError({ message: `${command.join(" ")} did not start` })),
        }),
      ),
    ask: (text) =>
      Effect.andThen(
        Effect.sync(() => {
          void child.stdin.write(`${text}\n`)
          void child.stdin.flush()
        }),
        line((text) => text),
      ),
  }
})
