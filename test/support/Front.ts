/**
 * Programs that stand before a proxy, such as nginx: where they are, and how they are started.
 */
import { Effect, FileSystem } from "effect"
import { createServer } from "node:net"

/** Debian's place is not on every user's path. Undefined: it is not installed. */
export const installed = (name: string): string | undefined =>
  Bun.which(name) ?? Bun.which(`/usr/sbin/${name}`) ?? undefined

/** Neither of these programs takes port 0. */
export const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

/** Whatever certificate it shows. */
export const insecure = { tls: { rejectUnauthorized: false } }

/** A server in front of a proxy, up and with its base URL. It ends with the scope. */
export const front = Effect.fnUntraced(function* (
  command: ReadonlyArray<string>,
  base: string,
  env: Readonly<Record<string, string | undefined>> = Bun.env,
) {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => Bun.spawn([...command], { stdout: "ignore", stderr: "pipe", env: { ...env } })),
    (child) =>
      Effect.promise(() => {
        child.kill("SIGTERM")
        return child.exited
      }),
  )
  const isUp = Effect.promise(() =>
    fetch(`${base}/readyz`, insecure).then(
      ({ status }) => status === 200,
      () => child.exitCode !== null,
    ),
  )
  yield* Effect.repeat(isUp, { until: (up) => up })
  if (child.exitCode !== null) {
    return yield* Effect.die(new Error(yield* Effect.promise(() => new Response(child.stderr).text())))
  }
  return base
})

/** nginx with this inside of `http`, at a base URL of the caller's. */
export const nginx = Effect.fnUntraced(function* (base: string, folder: string, http: string) {
  const fs = yield* FileSystem.FileSystem
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  )
  yield* fs.writeFileString(
    `${folder}/nginx.conf`,
    `daemon off; pid ${folder}/pid; error_log stderr crit; worker_processes 1; events { worker_connections 4096; }
    http { access_log off; ${temporary.join(" ")} ${http} }`,
  )
  const command = [installed("nginx") ?? "nginx", "-p", folder, "-c", `${folder}/nginx.conf`, "-e", "stderr"]
  return yield* front(command, base)
})
