import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer } from "effect"
import { readFileSync } from "node:fs"
import { agent } from "../../src/simulator/Script.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { way } from "../support/Ask.ts"
import { leftOut, saying } from "../support/ByName.ts"
import { serve } from "../support/Command.ts"
import { freePort, front, installed, nginx } from "../support/Front.ts"
import { runs } from "../support/Runs.ts"
import { keyed } from "../support/SocketClient.ts"
import type { Talk } from "../support/Talk.ts"
import { say, talkOf, talksOf } from "../support/Talk.ts"
import { connect } from "../support/TestClient.ts"

const example = (name: string) => readFileSync(new URL(`../../docs/deploy/${name}`, import.meta.url), "utf8")

/** Says in a header of each answer which node it was of. */
const shown = "x-test-node"

const ports = [8081, 8082, 8083]

const withNodes = (config: string, nodes: ReadonlyArray<string>) =>
  ports.reduce((text, port, index) => text.replace(`127.0.0.1:${port}`, nodes[index] ?? ""), config)

const folder = Effect.flatMap(FileSystem.FileSystem, (fs) => fs.makeTempDirectoryScoped({ prefix: "respool-hash-" }))

/** docs/deploy/nginx-hash.conf but for addresses and TLS. */
const behindNginx = Effect.fnUntraced(function* (nodes: ReadonlyArray<string>) {
  const port = yield* freePort
  const config = withNodes(example("nginx-hash.conf"), nodes)
    .replace("listen 443 ssl;", `listen 127.0.0.1:${port}; add_header ${shown} $upstream_addr always;`)
    .replaceAll(/^\s*ssl_certificate.*$/gm, "")
  return yield* nginx(`http://127.0.0.1:${port}`, yield* folder, config)
})

/** docs/deploy/haproxy.cfg but for addresses and TLS. */
const behindHaproxy = Effect.fnUntraced(function* (nodes: ReadonlyArray<string>) {
  const fs = yield* FileSystem.FileSystem
  const port = yield* freePort
  const path = `${yield* folder}/haproxy.cfg`
  const config = withNodes(example("haproxy.cfg"), nodes)
    .replace(/bind :443 .*/, `bind 127.0.0.1:${port}`)
    .replace("default_backend", `http-response set-header ${shown} %si:%sp\n  default_backend`)
  yield* fs.writeFileString(path, config)
  return yield* front([installed("haproxy") ?? "haproxy", "-db", "-q", "-f", path], `http://127.0.0.1:${port}`)
})

const balancers = [
  ["nginx", "nginx-hash.conf", behindNginx],
  ["HAProxy", "haproxy.cfg", behindHaproxy],
] as const

/** Of a list that went by the node that failed and the one that took it, the one that answered. */
const nodeOf = (headers: Headers) => headers.get(shown)?.split(", ").at(-1) ?? ""

const layer = Layer.merge(Simulator.layer({ script: agent({ rounds: 0 }), recordLimit: 10 }), NodeFileSystem.layer)

const settings = {
  RESPOOL_LOG_LEVEL: "info",
  RESPOOL_MAX_CONNECTIONS: "4000",
  RESPOOL_MAX_CONNECTIONS_PER_SCOPE: "4000",
}

/** Three plain nodes, as processes. */
const threeNodes = Effect.forEach(ports, () => serve(settings), { concurrency: "unbounded" })

const hostOf = ({ url }: { readonly url: string }) => new URL(url).host

const byHand = leftOut(import.meta.url, "it starts balancers and twelve nodes")

for (const [name, file, behind] of balancers) {
  const why =
    installed(name.toLowerCase()) === undefined
      ? `for ${name} is not installed (apt-get install ${name.toLowerCase()})`
      : byHand

  describe(`Three nodes behind ${name}, as docs/deploy/${file} has it`, () => {
    it.live.skipIf(why !== undefined)(
      `keep each conversation on one of them, and one that dies takes only its own${saying(why)}`,
      () =>
        Effect.gen(function* () {
          const nodes = yield* threeNodes
          const base = `${yield* behind(nodes.map(hostOf))}/v1`
          const talks = talksOf(runs(1_000, 60))
          const round = (turn: number) =>
            Effect.forEach(
              talks,
              (talk) =>
                Effect.map(say(base, talk, turn), (answer) => {
                  assert.strictEqual(answer.status, 200, answer.text)
                  return { input: way(answer, "input")[0], node: nodeOf(answer.headers) }
                }),
              { concurrency: 16 },
            )
          const first = yield* round(1)
          const homes = first.map(({ node }) => node)
          assert.isTrue(first.every(({ input }) => input === "full"))
          for (const node of nodes)
            assert.isAtLeast(homes.filter((home) => home === hostOf(node)).length, talks.length / 10)
          const kept = homes.map((node) => ({ input: "suffix", node }))
          assert.deepStrictEqual(yield* round(2), kept)

          const [dead] = nodes
          if (dead === undefined) return assert.fail("no node")
          process.kill(dead.pid, "SIGKILL")
          yield* dead.exitCode
          const after = yield* round(3)
          for (const [index, { input, node }] of after.entries()) {
            const own = homes[index] === hostOf(dead)
            assert.strictEqual(input, own ? "full" : "suffix")
            if (own) assert.notStrictEqual(node, hostOf(dead))
            else assert.strictEqual(node, homes[index])
          }
          // Not all of them go to one neighbour.
          assert.lengthOf(new Set(after.map(({ node }) => node)), 2)
          assert.deepStrictEqual(
            yield* round(4),
            after.map(({ node }) => ({ input: "suffix", node })),
          )
        }).pipe(Effect.scoped, Effect.provide(layer)),
    )

    it.live.skipIf(why !== undefined)(
      `go by the header that respool goes by, else by the credential, for a client's socket too${saying(why)}`,
      () =>
        Effect.gen(function* () {
          const nodes = yield* threeNodes
          const base = `${yield* behind(nodes.map(hostOf))}/v1`
          const at = (talk: Talk) => Effect.map(say(base, talk, 1), ({ headers }) => nodeOf(headers))
          const names = Array.from({ length: 12 }, (_, index) => `name-${index}`)
          const order = ["session-id", "session_id", "conversation_id", "x-session-affinity", "x-my-session"]
          const homes = yield* Effect.forEach(names, (name) => at(talkOf(name)))
          assert.isAbove(new Set(homes).size, 1)
          for (const [place, header] of order.entries()) {
            // What comes later in the order says something else.
            const others = Object.fromEntries(order.slice(place + 1).map((later) => [later, `another-${place}`]))
            const found = yield* Effect.forEach(names, (name) => at(talkOf(name, { [header]: name, ...others })))
            assert.deepStrictEqual(found, homes, header)
            // To nginx `session-id` and `session_id` are one header, which is not said twice.
            const earlier = order.slice(0, place).filter((name) => name.replace("-", "_") !== header)
            const blank = Object.fromEntries(earlier.map((name) => [name, ""]))
            assert.deepStrictEqual(
              yield* Effect.forEach(names, (name) => at(talkOf(name, { ...blank, [header]: name }))),
              homes,
              `${header} behind empty ones`,
            )
          }
          // The name has reached respool, whichever header it was in.
          const logged = nodes.map(({ stderr }) => stderr()).join("")
          assert.lengthOf([...logged.matchAll(/session=name-0 /g)], 1 + 2 * 4)

          const byCredential = yield* Effect.forEach(names, () => at(talkOf("none", {})))
          assert.lengthOf(new Set(byCredential), 1)
          const credentials = yield* Effect.forEach(names, (name) =>
            at(talkOf(name, { authorization: `Bearer ${name}` })),
          )
          assert.isAbove(new Set(credentials).size, 1)

          const socket = yield* connect({ url: base }, { ...keyed(), "session-id": "name-3" })
          const done = yield* socket.turn({ input: "hello in 3 words" })
          assert.strictEqual(done.type, "response.completed")
          const home = nodes.find((node) => hostOf(node) === homes[3])
          yield* home?.logged(/path=\/v1\/responses status=101/) ?? Effect.die(new Error("no such node"))
        }).pipe(Effect.scoped, Effect.provide(layer)),
    )
  })
}
