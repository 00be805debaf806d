/**
 * The command line as people guess it, each as a process of its own.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { ask } from "../support/Ask.ts"
import { selfSigned } from "../support/Certificate.ts"
import { address, folder, main, run, start } from "../support/Command.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { sample } from "../support/Runs.ts"

const layer = Layer.merge(NodeFileSystem.layer, Simulator.layer())

const why = leftOut(import.meta.url, "it starts the command line some twenty times")

it.layer(layer)("respool", (it) => {
  it.effect.skipIf(why !== undefined)(`takes settings as flags, over the environment and the file${saying(why)}`, () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const cwd = yield* folder
      const { url: upstream } = yield* Simulator
      yield* fs.writeFileString(`${cwd}/other.json`, '{"transport":"http","logFormat":"json"}')
      const flags = ["--port", "0", `--upstream=${upstream}`, "--config", "other.json", "--max-turns", "7"]
      const env = { RESPOOL_PORT: "70000", RESPOOL_UPSTREAM_URL: "http://127.0.0.1:9/v1", RESPOOL_LOG_LEVEL: "none" }
      const { logged, printed, signal, stdout } = yield* start(["serve", ...flags, "--log-level", "info"], { cwd, env })
      const url = yield* printed(address)
      assert.include(stdout(), ` for ${upstream} (transport http, auth passthrough)`)
      const root = yield* ask(new URL("/", url).href)
      assert.strictEqual(root.status, 200)
      assert.include(root.text, `\nOPENAI_BASE_URL=${url}\n`)
      yield* signal("SIGTERM")
      yield* logged(/^\{.*draining 0 turns/m)
    }),
  )

  const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, line: RegExp]> = [
    [["serve", "--prot", "9000"], /^respool: .*--prot.*\(`respool serve --help` says what there is\)\n$/],
    [["sevre"], /^respool: .*sevre.*\(`respool --help` says what there is\)\n$/],
    [["keys", "ad"], /^respool: .*ad.*\(`respool keys --help` says what there is\)\n$/],
    [["keys", "add"], /^respool: .*name.*\(`respool keys add --help` says what there is\)\n$/],
    [["simulator", "--port", "many"], /^respool: .*port.*\(`respool simulator --help` says what there is\)\n$/],
    [["--verbose"], /^respool: .*--verbose.*\(`respool --help` says what there is\)\n$/],
    [["serve", "--log-level", "loud"], /^respool: .*log-level.*\(`respool serve --help` says what there is\)\n$/],
    [["serve", "--port", "70000"], /^respool: --port="70000": expected a whole number from 0 to 65535\n$/],
    [["serve", "--upstream", "ftp://h"], /^respool: --upstream-url="ftp:\/\/h": expected .*\n$/],
    [["health", "--port", "1"], /^respool: http:\/\/127\.0\.0\.1:1\/readyz does not answer\n$/],
    [["health", "--port", "0"], /^respool: RESPOOL_PORT is 0: .*\n$/],
    [["health", "--host", "::", "--port", "1"], /^respool: http:\/\/\[::1\]:1\/readyz does not answer\n$/],
  ]
  it.effect.skipIf(why !== undefined)(`says in one line what was typed wrong, and exits with 1${saying(why)}`, () =>
    Effect.forEach(
      sample(wrong),
      Effect.fnUntraced(function* ([args, line]) {
        const { code, stderr, stdout } = yield* run(args, { cwd: yield* folder })
        assert.match(stderr, line)
        assert.strictEqual(stdout, "")
        assert.strictEqual(code, 1)
      }),
      { concurrency: 3, discard: true },
    ),
  )

  it.effect.skipIf(why !== undefined)(`takes help for a command${saying(why)}`, () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      for (const [args, usage] of [
        [["help"], "USAGE\n  respool"],
        [["help", "keys", "add"], "USAGE\n  respool keys add"],
        [[], "USAGE\n  respool"],
      ] as const) {
        const { code, stdout } = yield* run(args, { cwd })
        assert.include(stdout, usage)
        assert.strictEqual(code, 0)
      }
    }),
  )

  it.effect.skipIf(why !== undefined)(`ends when the shell of npm that runs it does${saying(why)}`, () =>
    Effect.gen(function* () {
      const { pid, url } = yield* startedByShell
      assert.strictEqual((yield* ask(new URL("/readyz", url).href)).status, 200)
      yield* Effect.sync(() => process.kill(pid, "SIGTERM"))
      yield* Effect.repeat(
        Effect.promise(() =>
          fetch(url).then(
            () => true,
            () => false,
          ),
        ),
        { while: (answers) => answers },
      )
    }),
  )

  it.effect.skipIf(why !== undefined)(
    `checks the health of a proxy that listens over TLS, as respool.json says${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* folder
        const { url: upstreamUrl } = yield* Simulator
        const { cert, key } = selfSigned("proxy.test")
        yield* fs.writeFileString(`${cwd}/cert.pem`, cert)
        yield* fs.writeFileString(`${cwd}/key.pem`, key)
        const files = { listenTlsCert: "cert.pem", listenTlsKey: "key.pem" }
        yield* fs.writeFileString(`${cwd}/respool.json`, JSON.stringify({ port: 0, upstreamUrl, ...files }))
        const { printed } = yield* start(["serve"], { cwd })
        const port = yield* printed(/^OPENAI_BASE_URL=https:\/\/127\.0\.0\.1:(\d+)\/v1$/m)
        const healthy = yield* run(["health", "--port", port], { cwd })
        assert.strictEqual(healthy.stdout, `https://127.0.0.1:${port}/readyz takes turns\n`, healthy.stderr)
        assert.strictEqual(healthy.code, 0)
      }),
  )
})

/** `respool serve` below a shell that ends at SIGTERM and passes nothing on, as npm's does. */
const startedByShell = Effect.gen(function* () {
  const cwd = yield* folder
  const { url } = yield* Simulator
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn(["sh", "-c", `"${process.execPath}" "${main}" serve; true`], {
        cwd,
        env: { HOME: cwd, npm_command: "exec", RESPOOL_PORT: "0", RESPOOL_UPSTREAM_URL: url },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "ignore",
      }),
    ),
    (child) => Effect.sync(() => child.kill("SIGKILL")),
  )
  const told = yield* Effect.promise(async () => {
    const decoder = new TextDecoder()
    let text = ""
    for await (const chunk of child.stdout) {
      text += decoder.decode(chunk, { stream: true })
      const found = address.exec(text)?.[1]
      if (found !== undefined) return found
    }
    throw new Error(`it ended: ${text}`)
  })
  return { pid: child.pid, url: told }
})
