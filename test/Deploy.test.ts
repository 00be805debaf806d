import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { readFileSync } from "node:fs"
import { createServer } from "node:net"
import { agent } from "../src/simulator/Script.ts"
import { Simulator } from "../src/simulator/Simulator.ts"
import { loopback, selfSigned } from "./support/Certificate.ts"
import { reading } from "./support/Reading.ts"
import { TestProxy } from "./support/TestProxy.ts"

/** Undefined: it is not installed (`apt-get install nginx`). */
const nginx = Bun.which("nginx") ?? Bun.which("/usr/sbin/nginx") ?? undefined

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")

const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const insecure = { tls: { rejectUnauthorized: false } }

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
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn([nginx ?? "nginx", "-p", folder, "-c", `${folder}/nginx.conf`, "-e", "stderr"], {
        stdout: "ignore",
        stderr: "pipe",
      }),
    ),
    (child) =>
      Effect.promise(() => {
        child.kill("SIGTERM")
        return child.exited
      }),
  )
  const base = `https://127.0.0.1:${port}`
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

const layer = TestProxy.layer({ simulator: { script: agent({ rounds: 0 }) } }).pipe(
  Layer.provideMerge(NodeFileSystem.layer),
)

describe("respool behind nginx, as docs/deploy/nginx.conf has it", () => {
  if (nginx === undefined) console.log("nginx is not installed: its example is not tried.")
  it.effect.skipIf(nginx === undefined)("answers, streams event by event, and learns nothing of the client", () =>
    Effect.gen(function* () {
      const simulator = yield* Simulator
      const base = yield* behindNginx((yield* TestProxy).url)
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
})
