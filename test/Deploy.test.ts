import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Schema } from "effect"
import { readFileSync } from "node:fs"
import { rows } from "../src/config/SettingRows.ts"
import { environmentName } from "../src/config/Settings.ts"
import { sessionName } from "../src/downstream/Session.ts"
import { agent } from "../src/simulator/Script.ts"
import { Simulator } from "../src/simulator/Simulator.ts"
import { loopback, selfSigned } from "./support/Certificate.ts"
import { run } from "./support/Child.ts"
import { freePort, front, insecure, installed, nginx } from "./support/Front.ts"
import { reading } from "./support/Reading.ts"
import { TestProxy } from "./support/TestProxy.ts"

const caddy = installed("caddy")
const systemd = Bun.which("systemd-analyze") ?? undefined

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

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
  return yield* nginx(`https://127.0.0.1:${port}`, folder, conf)
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

/** The first of a list. */
const first = <S extends Schema.Constraint>(schema: S) => Schema.TupleWithRest(Schema.Tuple([schema]), [Schema.Unknown])

/** What decides in the example where a request goes, in Envoy's own names (envoyproxy.io, v3 API). */
const Envoy = Schema.Struct({
  static_resources: Schema.Struct({
    listeners: first(
      Schema.Struct({
        filter_chains: first(
          Schema.Struct({
            filters: first(
              Schema.Struct({
                typed_config: Schema.Struct({
                  upgrade_configs: Schema.Array(Schema.Struct({ upgrade_type: Schema.String })),
                  route_config: Schema.Struct({
                    virtual_hosts: first(
                      Schema.Struct({
                        routes: first(
                          Schema.Struct({
                            route: Schema.Struct({
                              cluster: Schema.String,
                              timeout: Schema.String,
                              retry_policy: Schema.Struct({ retry_on: Schema.String }),
                              hash_policy: Schema.Array(
                                Schema.Struct({
                                  header: Schema.optionalKey(Schema.Struct({ header_name: Schema.String })),
                                  terminal: Schema.optionalKey(Schema.Boolean),
                                }),
                              ),
                            }),
                          }),
                        ),
                      }),
                    ),
                  }),
                }),
              }),
            ),
          }),
        ),
      }),
    ),
    clusters: first(
      Schema.Struct({
        name: Schema.String,
        lb_policy: Schema.String,
        health_checks: first(Schema.Struct({ http_health_check: Schema.Struct({ path: Schema.String }) })),
      }),
    ),
  }),
})

const layer = TestProxy.layer({ simulator: { script: agent({ rounds: 0 }) } }).pipe(
  Layer.provideMerge(NodeFileSystem.layer),
)

const fronts = [
  ["nginx", "nginx.conf", installed("nginx"), behindNginx],
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

const units = ["docs/deploy/respool.service", "docs/deploy/respool-binary.service"]

describe("The examples of docs/deploy", () => {
  it("stop the process no earlier than it has drained, and check its health by its own command", () => {
    assert.match(read("docs/deploy/compose.yaml"), /stop_grace_period: 40s/)
    for (const unit of units) {
      assert.match(read(unit), /^TimeoutStopSec=40$/m)
      assert.match(read(unit), /^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
    }
    assert.match(read("Dockerfile"), /HEALTHCHECK .* CMD \["bun", "\/app\/src\/main\.ts", "health"\]/)
  })

  it("collect no stream and send nothing twice", () => {
    const nginx = read("docs/deploy/nginx.conf")
    for (const line of ["proxy_buffering off;", "gzip off;", "proxy_next_upstream off;"]) assert.include(nginx, line)
    const hashed = read("docs/deploy/nginx-hash.conf")
    // Of a POST nothing goes to a second node once something was sent to the first.
    for (const line of ["proxy_buffering off;", "gzip off;", "proxy_next_upstream error;"]) assert.include(hashed, line)
    assert.match(read("docs/deploy/haproxy.cfg"), /^  retry-on conn-failure$/m)
    assert.match(read("docs/deploy/Caddyfile"), /^\t\tflush_interval -1$/m)
    assert.notMatch(read("docs/deploy/Caddyfile"), /^\s*encode\b/m)
  })

  if (systemd === undefined) console.log("systemd-analyze is not installed: the unit is checked as a text only.")
  it.live.skipIf(systemd === undefined)("have a unit in which systemd finds no mistake", () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-unit-" })
      const verify = Effect.fnUntraced(function* (name: string, unit: string) {
        yield* fs.writeFileString(`${folder}/${name}.service`, unit)
        // A template is looked at as one of its instances.
        const file = `${folder}/${name.replace(/@$/, "@8081")}.service`
        const command = [systemd ?? "systemd-analyze", "verify", "--man=no", file]
        const { code, stderr } = yield* run(command, { cwd: folder, env: { PATH: Bun.env["PATH"] } })
        return { code, complaints: stderr.split("\n").filter((line) => line.includes("respool")) }
      })
      for (const name of ["respool", "respool@", "respool-binary"]) {
        // Where the program is elsewhere, that is all that is wrong with it.
        const unit = read(`docs/deploy/${name}.service`).replace(/(?<=^ExecStart=)\S+/m, process.execPath)
        assert.deepStrictEqual(yield* verify(name, unit), { code: 0, complaints: [] })
        const { complaints } = yield* verify(name, unit.replace("TimeoutStopSec=40", "TimeoutStopSec=soon"))
        assert.isNotEmpty(complaints)
      }
    }).pipe(Effect.scoped, Effect.provide(NodeFileSystem.layer)),
  )

  it("have an Envoy that hashes on what names the session, in the order in which respool reads it", () => {
    const envoy = Schema.decodeUnknownSync(Envoy)(Bun.YAML.parse(read("docs/deploy/envoy.yaml")))
    const [cluster] = envoy.static_resources.clusters
    assert.strictEqual(cluster.lb_policy, "RING_HASH")
    assert.strictEqual(cluster.health_checks[0].http_health_check.path, "/readyz")
    const manager = envoy.static_resources.listeners[0].filter_chains[0].filters[0].typed_config
    assert.deepStrictEqual(manager.upgrade_configs, [{ upgrade_type: "websocket" }])
    const {
      cluster: name,
      hash_policy: policies,
      retry_policy: retries,
      timeout,
    } = manager.route_config.virtual_hosts[0].routes[0].route
    assert.strictEqual(name, cluster.name)
    assert.strictEqual(timeout, "0s")
    // Nothing that may have reached a node is sent to a second one.
    assert.strictEqual(retries.retry_on, "connect-failure")
    const headers = policies.flatMap(({ header, terminal }) => {
      if (header === undefined) return []
      assert.isTrue(terminal, header.header_name)
      return [header.header_name]
    })
    const own = "x-my-session"
    const names = headers.slice(0, headers.indexOf("authorization"))
    assert.deepStrictEqual(names, ["session-id", "session_id", "conversation_id", "x-session-affinity", own])
    for (const [place, header] of names.entries()) {
      const rest = Object.fromEntries(names.slice(place).map((later) => [later, later]))
      assert.strictEqual(sessionName(rest, undefined, own), header)
    }
  })

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
