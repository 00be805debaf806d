import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import packageJson from "../../package.json" with { type: "json" }
import { environmentName, rows } from "../../src/config/Settings.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { address, folder, run, serve, start } from "../support/Command.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { sample } from "../support/Runs.ts"

const layer = Layer.merge(NodeFileSystem.layer, Simulator.layer())

const why = leftOut(import.meta.url, "it starts the command line some thirty times")

it.layer(layer)("respool serve", (it) => {
  it.effect("says where it listens and in front of what, and answers there", () =>
    Effect.gen(function* () {
      const { stdout, upstream, url } = yield* serve()
      assert.deepStrictEqual(stdout().split("\n"), [
        `respool ${packageJson.version} for ${upstream} (transport auto, auth passthrough)`,
        `OPENAI_BASE_URL=${url}`,
        "",
      ])
      assert.notStrictEqual(new URL(url).port, "0")
      for (const [path, status] of [
        ["/healthz", "ok"],
        ["/readyz", "ready"],
      ] as const) {
        const answer = yield* Effect.promise(() => fetch(new URL(path, url)))
        assert.strictEqual(answer.status, 200)
        assert.strictEqual(yield* Effect.promise(() => answer.text()), `{"status":"${status}"}`)
      }
    }),
  )

  it.effect.skipIf(why !== undefined)(
    `reads respool.json in the working folder, or where RESPOOL_CONFIG says, below the environment${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* folder
        yield* fs.writeFileString(
          `${cwd}/respool.json`,
          '{"port":0,"upstreamUrl":"http://127.0.0.1:1/here","transport":"http"}',
        )
        yield* fs.writeFileString(`${cwd}/other.json`, '{"port":0,"upstreamUrl":"http://127.0.0.1:1/there"}')
        const first = yield* start(["serve"], { cwd, env: { RESPOOL_TRANSPORT: "websocket" } })
        assert.strictEqual(
          yield* first.printed(/ for (.*)/),
          "http://127.0.0.1:1/here (transport websocket, auth passthrough)",
        )
        const second = yield* start(["serve"], { cwd, env: { RESPOOL_CONFIG: "other.json" } })
        assert.strictEqual(
          yield* second.printed(/ for (.*)/),
          "http://127.0.0.1:1/there (transport auto, auth passthrough)",
        )
      }),
  )

  it.effect.skipIf(why !== undefined)(
    `says in one line which names Kubernetes has set, and starts without them${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* folder
        yield* fs.writeFileString(`${cwd}/respool.json`, '{"port":0,"upstreamUrl":"http://127.0.0.1:1/v1"}')
        const env = { RESPOOL_PORT: "tcp://10.0.0.1:8080", RESPOOL_SERVICE_HOST: "10.0.0.1" }
        const { logged, printed, stderr } = yield* start(["serve"], { cwd, env })
        yield* printed(address)
        yield* logged(/level=WARN.* message="Kubernetes set RESPOOL_.*RESPOOL_.* are ignored .*\n/)
        assert.lengthOf(stderr().trim().split("\n"), 1)
      }),
  )

  const secret = "test-secret"
  const wrong: ReadonlyArray<readonly [env: Readonly<Record<string, string>>, line: RegExp]> = [
    [{ RESPOOL_PORT: "70000" }, /^respool: RESPOOL_PORT="70000": expected a whole number from 0 to 65535\n$/],
    [{ RESPOOL_IDLE_TTL: "soon" }, /^respool: RESPOOL_IDLE_TTL="soon": expected a duration such as .*\n$/],
    [{ RESPOOL_BUSY: "a\nb" }, /^respool: RESPOOL_BUSY="a\\nb": expected dial \| wait \| http \| lane\n$/],
    [
      { RESPOOL_UPSTREAM_URL: `https://u:${secret}@h/v1` },
      /^respool: RESPOOL_UPSTREAM_URL="https:\/\/…@h\/v1": expected .*\n$/,
    ],
    [{ RESPOOL_UPSTREAM_API_KEY: `${secret}\u0007` }, /^respool: RESPOOL_UPSTREAM_API_KEY: expected .*\n$/],
    [{ RESPOOL_AUTH: "keys" }, /^respool: RESPOOL_AUTH=keys needs RESPOOL_UPSTREAM_API_KEY, .*\n$/],
    [
      { RESPOOL_AUTH: "keys", RESPOOL_UPSTREAM_API_KEY: secret },
      /^respool: keys file respool\.keys\.json does not exist: make it with `respool keys add NAME`\n$/,
    ],
    [
      { RESPOOL_UPSTREM_URL: secret },
      /^respool: RESPOOL_UPSTREM_URL: there is no such setting; the nearest is RESPOOL_UPSTREAM_URL\n$/,
    ],
    [{ RESPOOL_CONFIG: "none.json" }, /^respool: RESPOOL_CONFIG="none\.json": the file can't be read\n$/],
    [{ RESPOOL_TLS_CA: "none.pem" }, /^respool: RESPOOL_TLS_CA="none\.pem": the file can't be read\n$/],
    [{ RESPOOL_HOST: "192.0.2.1" }, /^respool: Cannot listen on 192\.0\.2\.1:0: .*\n$/],
  ]
  it.effect.skipIf(why !== undefined)(
    `exits with 1 and one line for what is wrongly set, without what is secret in it${saying(why)}`,
    () =>
      Effect.forEach(
        sample(wrong),
        Effect.fnUntraced(function* ([env, line]) {
          const options = { cwd: yield* folder, env: { RESPOOL_PORT: "0", ...env } }
          const { code, stderr, stdout } = yield* run(["serve"], options)
          assert.match(stderr, line)
          assert.strictEqual(stdout, "")
          assert.strictEqual(code, 1, stderr)
          assert.notInclude(stderr, secret)
        }),
        { concurrency: 5, discard: true },
      ),
  )

  it.effect.skipIf(why !== undefined)(`exits with 1 and one line when its port is in use${saying(why)}`, () =>
    Effect.gen(function* () {
      const { port } = yield* Simulator
      const { code, stderr, stdout } = yield* run(["serve"], {
        cwd: yield* folder,
        env: { RESPOOL_PORT: String(port) },
      })
      assert.strictEqual(stderr, `respool: Cannot listen on 127.0.0.1:${port}: the port is in use\n`)
      assert.strictEqual(stdout, "")
      assert.strictEqual(code, 1)
    }),
  )

  it.effect.skipIf(why !== undefined)(
    `exits with 1 and one line that names the file for what is wrong in it${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* folder
        yield* fs.writeFileString(`${cwd}/respool.json`, '{"idleTtl":"soon"}')
        const { code, stderr, stdout } = yield* run(["serve"], { cwd })
        assert.strictEqual(
          stderr,
          'respool: respool.json: idleTtl="soon": expected a duration such as `3 seconds` or `50 minutes`\n',
        )
        assert.strictEqual(stdout, "")
        assert.strictEqual(code, 1)
      }),
  )

  it.effect.skipIf(why !== undefined)(`lists every setting with its default in its help${saying(why)}`, () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["serve", "--help"], { cwd: yield* folder })
      assert.strictEqual(code, 0)
      for (const [name, { allowed, shown }] of Object.entries(rows)) {
        assert.include(stdout, `\n  ${environmentName(name)} (${shown === "" ? "not set" : shown})\n`)
        assert.include(stdout, `; ${allowed}\n`)
      }
    }),
  )
})

it.layer(NodeFileSystem.layer)("respool", (it) => {
  it.effect.skipIf(why !== undefined)(`tells its version${saying(why)}`, () =>
    Effect.gen(function* () {
      const { code, stdout } = yield* run(["--version"], { cwd: yield* folder })
      assert.strictEqual(stdout, `respool v${packageJson.version}\n`)
      assert.strictEqual(code, 0)
    }),
  )

  it.effect.skipIf(why !== undefined)(`exits with 1 for a command that is none${saying(why)}`, () =>
    Effect.gen(function* () {
      const { code, stderr } = yield* run(["sevre"], { cwd: yield* folder })
      assert.include(stderr, "sevre")
      assert.strictEqual(code, 1)
    }),
  )
})

it.layer(layer)("respool simulator", (it) => {
  it.effect.skipIf(why !== undefined)(
    `says where it listens, answers there, and exits with 0 when it is told to stop${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const { exitCode, printed, signal } = yield* start(["simulator"], { cwd: yield* folder })
        const url = yield* printed(/^simulator (http:\/\/127\.0\.0\.1:\d+\/v1)$/m)
        assert.strictEqual((yield* Effect.promise(() => fetch(`${url}/models`))).status, 200)
        yield* signal("SIGINT")
        assert.strictEqual(yield* exitCode, 0)
      }),
  )

  it.effect.skipIf(why !== undefined)(
    `exits with 1 and one line when its port is in use or is none${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const { port } = yield* Simulator
        const ports = [
          [String(port), "the port is in use"],
          ["65536", "a port is a whole number from 0 to 65535"],
          ["-1", "a port is a whole number from 0 to 65535"],
        ] as const
        for (const [given, reason] of sample(ports)) {
          const { code, stderr, stdout } = yield* run(["simulator", `--port=${given}`], { cwd: yield* folder })
          assert.strictEqual(stderr, `respool: Cannot listen on 127.0.0.1:${given}: ${reason}\n`)
          assert.strictEqual(stdout, "")
          assert.strictEqual(code, 1)
        }
      }),
  )
})

it.layer(NodeFileSystem.layer)("respool keys add", (it) => {
  it.effect.skipIf(why !== undefined)(
    `prints a key once and keeps its hash, in a file that only its owner may read${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* folder
        const env = { RESPOOL_KEYS_FILE: "keys/all.json" }
        const first = yield* run(["keys", "add", "laptop", "--user", "anna"], { cwd, env })
        assert.strictEqual(first.code, 0, first.stderr)
        assert.match(first.stdout, /^respool_[0-9a-f]{12}_[\w-]{43}\n$/)
        const [, id = "", secret = ""] = /^respool_([0-9a-f]{12})_(.*)\n$/.exec(first.stdout) ?? []
        assert.strictEqual(first.stderr, `Key ${id} is in keys/all.json. It is shown this once:\n`)

        const path = `${cwd}/keys/all.json`
        assert.strictEqual((yield* fs.stat(path)).mode & 0o777, 0o600)
        assert.strictEqual((yield* fs.stat(`${cwd}/keys`)).mode & 0o777, 0o700)
        const stored = yield* fs.readFileString(path)
        assert.notInclude(stored, secret)
        const hash = new Bun.CryptoHasher("sha256").update(first.stdout.trim()).digest("hex")
        assert.include(stored, `"hash": "${hash}"`)
        assert.include(stored, '"user": "anna"')

        const second = yield* run(["keys", "add", "server"], { cwd, env })
        assert.strictEqual(second.code, 0, second.stderr)
        assert.notInclude(second.stdout, secret)
        assert.strictEqual((yield* fs.readFileString(path)).match(/"id":/g)?.length, 2)
        assert.deepStrictEqual(yield* fs.readDirectory(`${cwd}/keys`), ["all.json"])
      }),
  )

  it.effect("makes keys that serve takes, whatever else is not yet set", () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const made = yield* run(["keys", "add", "laptop"], { cwd, env: { RESPOOL_AUTH: "keys" } })
      assert.strictEqual(made.code, 0, made.stderr)
      const simulator = yield* Simulator
      const { printed } = yield* start(["serve"], {
        cwd,
        env: {
          RESPOOL_AUTH: "keys",
          RESPOOL_UPSTREAM_API_KEY: "test-key-upstream",
          RESPOOL_UPSTREAM_URL: simulator.url,
          RESPOOL_PORT: "0",
        },
      })
      const url = yield* printed(address)
      const get = (key: string) =>
        Effect.promise(() => fetch(`${url}/models`, { headers: { authorization: `Bearer ${key}` } }))
      assert.strictEqual((yield* get(made.stdout.trim())).status, 200)
      assert.strictEqual((yield* get("test-key-upstream")).status, 401)
      const fs = yield* FileSystem.FileSystem
      assert.strictEqual((yield* fs.stat(`${cwd}/respool.ids`)).mode & 0o777, 0o700)
    }).pipe(Effect.provide(Simulator.layer({ apiKeys: ["test-key-upstream"] }))),
  )

  it.effect.skipIf(why !== undefined)(`lists keys without a secret, and takes one out by its name${saying(why)}`, () =>
    Effect.gen(function* () {
      const cwd = yield* folder
      const made = yield* run(["keys", "add", "laptop", "--user", "anna"], { cwd })
      const [, id = "", secret = ""] = /^respool_([0-9a-f]{12})_(.*)\n$/.exec(made.stdout) ?? []
      const listed = yield* run(["keys", "list"], { cwd })
      assert.match(listed.stdout, new RegExp(`^${id}  \\d{4}-.*Z  laptop  \\(of anna\\)\\n$`))
      const { stdout } = yield* run(["keys", "list", "--json"], { cwd })
      assert.match(stdout, new RegExp(`^\\[\\{"id":"${id}","name":"laptop","user":"anna","createdAt":".*"\\}\\]\\n$`))
      assert.notInclude(listed.stdout + stdout, secret)
      const removed = yield* run(["keys", "remove", "laptop"], { cwd })
      assert.strictEqual(removed.stdout, `Key ${id} (laptop) is out of respool.keys.json.\n`)
      const again = yield* run(["keys", "remove", "laptop"], { cwd })
      assert.match(again.stderr, /^respool: keys file respool\.keys\.json has no key with that name or id: .*\n$/)
      assert.deepStrictEqual([removed.code, again.code], [0, 1])
    }),
  )

  it.effect.skipIf(why !== undefined)(`lists none, several, and no file at all${saying(why)}`, () =>
    Effect.gen(function* () {
      const fs = yield* FileSystem.FileSystem
      const cwd = yield* folder
      const list = (...args: ReadonlyArray<string>) => run(["keys", "list", ...args], { cwd })
      const missing = yield* list()
      assert.deepStrictEqual([missing.code, missing.stdout], [1, ""])
      assert.match(missing.stderr, /^respool: keys file respool\.keys\.json does not exist.*\n$/)
      yield* fs.writeFileString(`${cwd}/respool.keys.json`, '{"keys":[]}', { mode: 0o600 })
      assert.deepStrictEqual([(yield* list()).stdout, (yield* list("--json")).stdout], ["", "[]\n"])
      for (const args of [["laptop"], ["ci.2", "--user", "team"], ["server"]])
        yield* run(["keys", "add", ...args], { cwd })
      const lines = (yield* list()).stdout.trimEnd().split("\n")
      assert.deepStrictEqual(
        lines.map((line) => line.replace(/^[0-9a-f]{12} {2}\S+Z {2}/, "")),
        ["laptop", "ci.2  (of team)", "server"],
      )
      const shown = JSON.parse((yield* list("--json")).stdout) as ReadonlyArray<Record<string, string>>
      assert.deepStrictEqual(
        shown.map(({ name, user }) => [name, user]),
        [
          ["laptop", undefined],
          ["ci.2", "team"],
          ["server", undefined],
        ],
      )
      for (const key of shown) assert.notProperty(key, "hash")
    }),
  )

  it.effect.skipIf(why !== undefined)(
    `refuses a wrong name, a wrong user and a file that others may read, with one line${saying(why)}`,
    () =>
      Effect.gen(function* () {
        const fs = yield* FileSystem.FileSystem
        const cwd = yield* folder
        const refused = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
          const { code, stderr, stdout } = yield* run(["keys", "add", ...args], { cwd })
          assert.strictEqual(stdout, "")
          assert.strictEqual(code, 1)
          return stderr
        })
        assert.match(yield* refused("a/b"), /^respool: a key's name is .*\n$/)
        assert.match(yield* refused("a", "--user", "b c"), /^respool: a user is .*\n$/)
        assert.isFalse(yield* fs.exists(`${cwd}/respool.keys.json`))
        yield* fs.writeFileString(`${cwd}/respool.keys.json`, '{"keys":[]}', { mode: 0o644 })
        assert.match(yield* refused("a"), /^respool: keys file respool\.keys\.json is open to other users .*\n$/)
      }),
  )
})
