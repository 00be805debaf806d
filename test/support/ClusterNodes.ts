/**
 * Nodes of a cluster in this process, each a whole proxy with a listener of its own, in front of one simulator.
 */
import { Context, Effect, Exit, Layer, Metric, Redacted, Scope } from "effect"
import { randomInt } from "node:crypto"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import type { Answer, Asked } from "./Ask.ts"
import { ask } from "./Ask.ts"
import { TestProxy } from "./TestProxy.ts"

export const secret = "a-secret-of-all-nodes"

export interface ClusterNode {
  /** As answers name it. */
  readonly name: string
  /** Where other nodes reach it. */
  readonly address: string
  readonly proxy: TestProxy["Service"]
  readonly stop: Effect.Effect<void>
}

/** One that was given out before may not be listened on yet. */
const given = new Set<number>()

/** A port that nothing listens on, below those that the system gives to whoever asks for any. */
export const freePort = Effect.sync(() => {
  for (;;) {
    try {
      const port = randomInt(20_000, 32_000)
      if (given.has(port)) continue
      Bun.listen({ hostname: "127.0.0.1", port, socket: { data: () => {} } }).stop(true)
      given.add(port)
      return port
    } catch {
      // Somebody listens there.
    }
  }
})

/** One node; `reaches`: the addresses of the others. */
export const nodeAt = Effect.fnUntraced(function* (
  port: number,
  reaches: ReadonlyArray<string>,
  settings: SettingsOptions = {},
) {
  const { url } = yield* Simulator
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))
  const address = `http://127.0.0.1:${port}`
  const layer = TestProxy.layerProxy({
    upstreamUrl: url,
    clusterAddress: address,
    clusterSecret: Redacted.make(secret),
    clusterNodes: reaches.length === 0 ? [address] : reaches,
    ...settings,
  })
  // Each has metrics of its own, as a process has.
  const context = yield* Layer.buildWithScope(layer, scope).pipe(
    Effect.provideService(Metric.MetricRegistry, new Map()),
  )
  const node: ClusterNode = {
    name: `127.0.0.1:${port}`,
    address,
    proxy: Context.get(context, TestProxy),
    stop: Scope.close(scope, Exit.void),
  }
  return node
})

/** So many nodes that know one another. */
export const cluster = Effect.fnUntraced(function* (count: number, settings: SettingsOptions = {}) {
  const ports = yield* Effect.forEach(Array.from({ length: count }), () => freePort)
  const addresses = ports.map((port) => `http://127.0.0.1:${port}`)
  return yield* Effect.forEach(ports, (port) => nodeAt(port, addresses, settings))
})

/** A turn at a node. */
export const turnAt = ({ proxy }: ClusterNode, body: object, asked: Omit<Asked, "body"> = {}): Effect.Effect<Answer> =>
  ask(`${proxy.url}/responses`, { key: "test-key-a", ...asked, body: { model: "gpt-5.5", ...body } })

/** Where a turn ran, as its answer says. */
export const placeOf = ({ headers }: Answer): string | null => headers.get("x-respool-node")

export const inSession = (session: string) => ({ headers: { "session-id": session } })

/** A session whose first turn came in at one node, which another hands its turns to by now. */
export const sessionOwnedBy = Effect.fnUntraced(function* (owner: ClusterNode, entry: ClusterNode, key = "test-key-a") {
  for (let number = 0; ; number++) {
    const session = `session-${number}`
    const at = (node: ClusterNode) => turnAt(node, { input: `hello ${number}` }, { key, ...inSession(session) })
    // Until a node has said its name, its address stands for it, and then another may keep the session in mind.
    const answers = [yield* at(owner), yield* at(entry), yield* at(entry)]
    if (answers.every((answer) => placeOf(answer) === owner.name)) return session
  }
})
