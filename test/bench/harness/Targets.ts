/**
 * What is measured: each target as its own process in front of an upstream, or the upstream itself.
 */
import { Effect, FileSystem, Schedule } from "effect"
import { connect } from "node:net"
import { BenchError, program, start } from "./Child.ts"

/** What is measured unless others are chosen. */
export const usualTargets = ["respool", "floor", "effect", "direct", "nginx", "portkey"] as const

/** Two more that compare respool with itself: without its metrics, and as it was in another checkout. */
export const targetNames = [...usualTargets, "uncounted", "before"] as const
export type TargetName = (typeof targetNames)[number]

/** The floor inside of Effect knows turns only, and says what they cost at least. */
export const proxies: ReadonlyArray<TargetName> = targetNames.filter((name) => name !== "effect")

interface Target {
  readonly url: string
  /** What a request needs besides. */
  readonly headers: Readonly<Record<string, string>>
  /** All processes of the target. */
  readonly pids: ReadonlyArray<number>
}

export interface TargetOptions {
  /** Where to write a CPU profile of respool when it ends. */
  readonly profile: string | undefined
  /** Settings of respool's, beside those of every scenario. */
  readonly env?: Readonly<Record<string, string>>
  /** Where respool writes, once a second, how long its event loop was held at most. */
  readonly heart?: string
}

const ownSettings = Object.fromEntries(
  Object.entries(Bun.env).flatMap(([name, value = ""]) =>
    name.startsWith("RESPOOL_") ? [[name, value] as const] : [],
  ),
)

/** Caps that no scenario meets, and what the benchmark's own environment sets; all else is as it comes. */
export const respoolSettings = {
  RESPOOL_PORT: "0",
  RESPOOL_MAX_CONNECTIONS: "19000",
  RESPOOL_MAX_CONNECTIONS_PER_SCOPE: "19000",
  RESPOOL_MAX_CLIENT_SOCKETS: "19000",
  RESPOOL_MAX_CLIENT_SOCKETS_PER_SCOPE: "19000",
  ...ownSettings,
}

const root = new URL("../../../", import.meta.url)
const portkey = new URL("../portkey/node_modules/@portkey-ai/gateway/build/start-server.js", import.meta.url)
// Debian's place is not on every user's path.
const nginx = Bun.which("nginx", { PATH: `${Bun.env["PATH"] ?? ""}:/usr/sbin` })

/** A checkout of another commit, with its dependencies, that `before` is started from. */
const beforeFolder = Bun.env["BENCH_BEFORE"]

/** Why a target can't be measured here. */
export const whySkipped = (name: TargetName): Effect.Effect<string | undefined, never, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    if (name === "nginx") return nginx === null ? "there is no nginx (apt-get install nginx)" : undefined
    if (name === "before" && beforeFolder === undefined) return "BENCH_BEFORE names no other checkout"
    if (name !== "portkey") return undefined
    const fs = yield* FileSystem.FileSystem
    return (yield* Effect.orElseSucceed(fs.exists(Bun.fileURLToPath(portkey)), () => false))
      ? undefined
      : "it is not installed (npx bun install --cwd test/bench/portkey)"
  })

const folder = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  return yield* Effect.orDie(fs.makeTempDirectoryScoped({ prefix: "bench-" }))
})

const respool = Effect.fnUntraced(function* (
  upstream: string,
  { env, heart, profile }: TargetOptions,
  from: URL = root,
) {
  const flags = [
    ...(profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`]),
    ...(heart === undefined ? [] : ["--preload", Bun.fileURLToPath(new URL("test/support/Heart.ts", root))]),
  ]
  const child = yield* start(program(new URL("src/main.ts", from), ["serve"], flags), {
    cwd: yield* folder,
    env: {
      ...respoolSettings,
      ...env,
      ...(heart === undefined ? {} : { HEART_FILE: heart }),
      RESPOOL_UPSTREAM_URL: `${upstream}/v1`,
    },
    gently: profile !== undefined,
  })
  return { url: yield* child.printed(/^OPENAI_BASE_URL=(\S+)\/v1$/), headers: {}, pids: [child.pid] }
})

const floor = Effect.fnUntraced(function* (upstream: string, script: "floor" | "effectFloor") {
  const child = yield* start(program(new URL(`../${script}.ts`, import.meta.url)), {
    cwd: yield* folder,
    env: { PORT: "0", UPSTREAM_WS: `${upstream.replace("http:", "ws:")}/v1/responses` },
  })
  return { url: yield* child.printed(/^floor (\S+)\/v1$/), headers: {}, pids: [child.pid] }
})

/** Neither of the others takes port 0. */
export const freePort = Effect.sync(() => {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } })
  server.stop(true)
  return server.port
})

const accepts = (port: number) =>
  Effect.callback<void, BenchError>((resume) => {
    const socket = connect(port, "127.0.0.1", () => resume(Effect.void))
    socket.on("error", (error) => resume(Effect.fail(new BenchError({ message: error.message }))))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.retry({ schedule: Schedule.spaced("5 millis"), times: 2000 }))

const nginxConfig = (port: number, upstream: string, cwd: string) => `
worker_processes 1;
pid ${cwd}/nginx.pid;
error_log ${cwd}/error.log;
worker_rlimit_nofile 19000;
events { worker_connections 9000; }
http {
  access_log off;
  client_max_body_size 0;
  client_body_buffer_size 16m;
  client_body_temp_path ${cwd}/body;
  proxy_temp_path ${cwd}/proxy;
  fastcgi_temp_path ${cwd}/fastcgi;
  uwsgi_temp_path ${cwd}/uwsgi;
  scgi_temp_path ${cwd}/scgi;
  keepalive_requests 1000000;
  upstream api { server ${new URL(upstream).host}; keepalive 512; keepalive_requests 1000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://api;
      proxy_http_version 1.1;
      proxy_set_header connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }
  }
}
`

/** Children of a process, which nginx's work is done by. */
const childrenOf = Effect.fnUntraced(function* (pid: number) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.orElseSucceed(fs.readFileString(`/proc/${pid}/task/${pid}/children`), () => "")
  return text
    .split(" ")
    .map(Number)
    .filter((child) => child > 0)
})

const nginxTarget = Effect.fnUntraced(function* (upstream: string) {
  const fs = yield* FileSystem.FileSystem
  const cwd = yield* folder
  const port = yield* freePort
  const config = `${cwd}/nginx.conf`
  yield* Effect.orDie(fs.writeFileString(config, nginxConfig(port, upstream, cwd)))
  const command = [nginx ?? "nginx", "-e", `${cwd}/error.log`, "-p", cwd, "-c", config, "-g", "daemon off;"]
  // Killed, it would leave its workers behind.
  const child = yield* start(command, { cwd, gently: true })
  yield* accepts(port)
  return { url: `http://127.0.0.1:${port}`, headers: {}, pids: [child.pid, ...(yield* childrenOf(child.pid))] }
})

const portkeyTarget = Effect.fnUntraced(function* (upstream: string) {
  const port = yield* freePort
  const command = [Bun.which("node") ?? process.execPath, Bun.fileURLToPath(portkey), `--port=${port}`, "--headless"]
  const child = yield* start(command, { cwd: yield* folder })
  yield* accepts(port)
  return {
    url: `http://127.0.0.1:${port}`,
    headers: { "x-portkey-provider": "openai", "x-portkey-custom-host": `${upstream}/v1` },
    pids: [child.pid],
  }
})

/** Starts a target; it ends with the scope. */
export const startTarget = Effect.fnUntraced(function* (name: TargetName, upstream: string, options: TargetOptions) {
  switch (name) {
    case "respool":
      return yield* respool(upstream, options)
    case "uncounted":
      return yield* respool(upstream, { ...options, env: { ...options.env, RESPOOL_METRICS: "off" } })
    case "before":
      return yield* respool(upstream, options, Bun.pathToFileURL(`${beforeFolder}/`))
    case "floor":
      return yield* floor(upstream, "floor")
    case "effect":
      return yield* floor(upstream, "effectFloor")
    case "direct":
      return { url: upstream, headers: {}, pids: [] } satisfies Target
    case "nginx":
      return yield* nginxTarget(upstream)
    case "portkey":
      return yield* portkeyTarget(upstream)
  }
})
