/**
 * A Postgres of its own for a test, on a free port of loopback, in a folder that goes with the scope.
 */
import { Effect, FileSystem } from "effect"
import { readdirSync } from "node:fs"
import { freePort } from "./Front.ts"

/** Debian's place (`apt-get install postgresql`), the newest version. */
const places = (): ReadonlyArray<string> => {
  try {
    return readdirSync("/usr/lib/postgresql").toSorted((one, other) => Number(other) - Number(one))
  } catch {
    return []
  }
}

const [version] = places()

/** Undefined: it is not installed. */
export const postgresPrograms = version === undefined ? undefined : `/usr/lib/postgresql/${version}/bin`

/** Postgres does not run as root; Debian has a user for it. */
const asUser = process.getuid?.() === 0 ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : []

interface Postgres {
  readonly port: number
  /** Ends it at once, as a crash does, and starts it anew. */
  readonly restart: Effect.Effect<void>
}

export const postgres = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-postgres-" })
  const port = yield* freePort
  const run = (...command: ReadonlyArray<string>) =>
    Effect.promise(async () => {
      const child = Bun.spawn([...asUser, ...command], { cwd: folder, stdout: "ignore", stderr: "pipe" })
      const said = await new Response(child.stderr).text()
      if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${said}`)
    })
  if (asUser.length > 0) {
    yield* Effect.promise(() => Bun.spawn(["chown", "postgres:postgres", folder]).exited)
  }
  const programs = postgresPrograms ?? "/usr/bin"
  const data = `${folder}/data`
  yield* run(`${programs}/initdb`, "-D", data, "-A", "trust", "-U", "respool", "--no-sync", "--no-locale", "-E", "UTF8")
  const start = Effect.gen(function* () {
    const options = ["-c", "listen_addresses=127.0.0.1", "-c", `unix_socket_directories=${folder}`, "-c", "fsync=off"]
    const child = Bun.spawn([...asUser, `${programs}/postgres`, "-D", data, "-p", String(port), ...options], {
      cwd: folder,
      stdout: "ignore",
      stderr: "ignore",
    })
    const isUp = Effect.promise(() =>
      Bun.spawn([`${programs}/pg_isready`, "-q", "-h", "127.0.0.1", "-p", String(port)]).exited.then(
        (code) => code === 0,
      ),
    )
    yield* Effect.repeat(isUp, { until: (up) => up })
    return child
  })
  const state = yield* Effect.acquireRelease(
    Effect.map(start, (child) => ({ child })),
    (state) =>
      Effect.promise(() => {
        // Immediate: what it would write goes with the folder.
        state.child.kill("SIGQUIT")
        return state.child.exited
      }),
  )
  const made: Postgres = {
    port,
    restart: Effect.gen(function* () {
      state.child.kill("SIGQUIT")
      yield* Effect.promise(() => state.child.exited)
      state.child = yield* start
    }),
  }
  return made
})
