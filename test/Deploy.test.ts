import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Schema } from "effect"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { rows } from "../src/config/SettingRows.ts"
import { environmentName } from "../src/config/Settings.ts"
import { agent } from "../src/simulator/Script.ts"
import { Simulator } from "../src/simulator/Simulator.ts"
import { loopback, selfSigned } from "./support/Certificate.ts"
import { run } from "./support/Child.ts"
import { reading } from "./support/Reading.ts"
import { TestProxy } from "./support/TestProxy.ts"

/** Undefined: it is not installed (`apt-get install nginx`). */
const nginx = Bun.which("nginx") ?? Bun.which("/usr/sbin/nginx") ?? undefined
const caddy = Bun.which("caddy") ?? undefined
const systemd = Bun.which("systemd-analyze") ?? undefined

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const insecure = { tls: { rejectUnauthorized: false } }

/** A server in front of a proxy, up and with its base URL. It ends with the scope. */
const front = Effect.fnUntraced(function* (
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

/** nginx with docs/deploy/nginx.conf in front of a proxy; only ports, name and certificate are others. */
const behindNginx = Effect.fnUntraced(function* (url: string) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-nginx-" })
  const port = yield* freePort
  const { cert, key } = selfSigned(loopback)
  yield* fs.writeFileString(`${folder}/fullchain.pem`, cert)
  yield* fs.writeFileString(`${folder}/privkey.pem`, key)
  const conf = read("docs/deploy/nginx.conf")
    .replace("server 127.0.0.1:8080;", `server ${new URL(url).host};`)
    .replace("listen 443 ssl;", `listen 127.0.0.1:${port} ssl;`)
    .replaceAll("/etc/ssl/llm.example.com/", `${folder}/`)
  yield* fs.writeFileString(
    `${folder}/nginx.conf`,
    `daemon off; pid ${folder}/pid; error_log stderr; worker_processes 1; events {} http { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s; ${conf} }`,
  )
  const command = [nginx ?? "nginx", "-p", folder, "-c", `${folder}/nginx.conf`, "-e", "stderr"]
  return yield* front(command, `https://127.0.0.1:${port}`)
})

/** The same for Caddy, whose certificate of a public authority is one of the test's own. */
const behindCaddy = Effect.fnUntraced(function* (url: string) {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-caddy-" })
  const port = yield* freePort
  const { cert, key } = selfSigned(loopback)
  yield* fs.writeFileString(`${folder}/cert.pem`, cert)
  yield* fs.writeFileString(`${folder}/key.pem`, key)
  const file = read("docs/deploy/Caddyfile")
    .replace("llm.example.com {", `https://127.0.0.1:${port} {\n\ttls ${folder}/cert.pem ${folder}/key.pem`)
    .replace("reverse_proxy 127.0.0.1:8080", `reverse_proxy ${new URL(url).host}`)
  yield* fs.writeFileString(`${folder}/Caddyfile`, `{\n\tadmin off\n\tauto_https off\n}\n${file}`)
  const command = [caddy ?? "caddy", "run", "--config", `${folder}/Caddyfile`, "--adapter", "caddyfile"]
  const env = { PATH: Bun.env["PATH"], HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  return yield* front(command, `https://127.0.0.1:${port}`, env)
})

/** What the example uses of compose's own schema (compose-spec.io). */
const Compose = Schema.Struct({
  services: Schema.Struct({
    respool: Schema.Struct({
      build: Schema.String,
      restart: Schema.Literals(["no", "always", "on-failure", "unless-stopped"]),
      read_only: Schema.Boolean,
      cap_drop: Schema.Array(Schema.String),
      security_opt: Schema.Array(Schema.String),
      ports: Schema.Array(Schema.String.check(Schema.isPattern(/^127\.0\.0\.1:8080:8080$/))),
      environment: Schema.Record(Schema.String, Schema.String),
      volumes: Schema.Array(Schema.String),
      stop_grace_period: Schema.String.check(Schema.isPattern(/^\d+s$/)),
    }),
  }),
  volumes: Schema.Record(Schema.String, Schema.Null),
})

const layer = TestProxy.layer({ simulator: { script: agent({ rounds: 0 }) } }).pipe(
  Layer.provideMerge(NodeFileSystem.layer),
)

const fronts = [
  ["nginx", "nginx.conf", nginx, behindNginx],
  ["Caddy", "Caddyfile", caddy, behindCaddy],
] as const

for (const [name, file, program, behind] of fronts) {
  describe(`respool behind ${name}, as docs/deploy/${file} has it`, () => {
    if (program === undefined) console.log(`${name} is not installed: its example is not tried.`)
    it.live.skipIf(program === undefined)("answers, streams event by event, and takes a large request", () =>
      Effect.gen(function* () {
        const simulator = yield* Simulator
        const base = yield* behind((yield* TestProxy).url)
        yield* simulator.failNext({ _tag: "Hold" })
        const response = yield* Effect.promise(() =>
          fetch(`${base}/v1/responses`, {
            ...insecure,
            method: "POST",
            headers: { authorization: "Bearer test-key-a", "content-type": "application/json" },
            body: JSON.stringify({ model: "gpt-5.5", stream: true, input: "x".repeat(3_000_000) }),
          }),
        )
        assert.strictEqual(response.status, 200)
        const reader = reading(response)
        // The simulator holds the rest back, so this came through before the answer was whole.
        yield* reader.upTo("response.output_text.delta")
        yield* simulator.release
        const { broken, text } = yield* reader.ending
        assert.isFalse(broken)
        assert.include(text, "response.completed")
      }).pipe(Effect.scoped, Effect.provide(layer)),
    )
  })
}

describe("The examples of docs/deploy", () => {
  it("stop the process no earlier than it has drained, and check its health by its own command", () => {
    assert.match(read("docs/deploy/compose.yaml"), /stop_grace_period: 40s/)
    assert.match(read("docs/deploy/respool.service"), /^TimeoutStopSec=40$/m)
    assert.match(read("docs/deploy/respool.service"), /^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
    assert.match(read("Dockerfile"), /HEALTHCHECK .* CMD \["bun", "\/app\/src\/main\.ts", "health"\]/)
  })

  it("collect no stream and send nothing twice", () => {
    const nginx = read("docs/deploy/nginx.conf")
    for (const line of ["proxy_buffering off;", "gzip off;", "proxy_next_upstream off;"]) assert.include(nginx, line)
    assert.match(read("docs/deploy/Caddyfile"), /^\t\tflush_interval -1$/m)
    assert.notMatch(read("docs/deploy/Caddyfile"), /^\s*encode\b/m)
  })

  if (systemd === undefined) console.log("systemd-analyze is not installed: the unit is checked as a text only.")
  it.live.skipIf(systemd === undefined)("have a unit in which systemd finds no mistake", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-unit-" })
      const verify = Effect.fnUntraced(function* (unit: string) {
        yield* fs.writeFileString(`${folder}/respool.service`, unit)
        const command = [systemd ?? "systemd-analyze", "verify", "--man=no", `${folder}/respool.service`]
        const { code, stderr } = yield* run(command, { cwd: folder, env: { PATH: Bun.env["PATH"] } })
        return { code, complaints: stderr.split("\n").filter((line) => line.includes("respool.service")) }
      })
      // Where Bun is elsewhere, that is all that is wrong with it.
      const unit = read("docs/deploy/respool.service").replace("/usr/local/bin/bun", process.execPath)
      assert.deepStrictEqual(yield* verify(unit), { code: 0, complaints: [] })
      const { complaints } = yield* verify(unit.replace("TimeoutStopSec=40", "TimeoutStopSec=soon"))
      assert.isNotEmpty(complaints)
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it("have a compose file that names what it uses, and nothing that compose does not know", () => {
    const compose: unknown = Bun.YAML.parse(read("docs/deploy/compose.yaml"))
    assert.deepStrictEqual(Schema.decodeUnknownSync(Compose)(compose, { onExcessProperty: "error" }), compose)
    const { services, volumes } = Schema.decodeUnknownSync(Compose)(compose)
    for (const volume of services.respool.volumes) {
      const [name = "", path = ""] = volume.split(":")
      assert.property(volumes, name)
      assert.include(read("Dockerfile"), path)
    }
    assert.match(read("Dockerfile"), /^EXPOSE 8080$/m)
    const known = Object.keys(rows).map(environmentName)
    for (const name of Object.keys(services.respool.environment)) assert.include(known, name)
  })
})
