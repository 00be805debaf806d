/**
 * What `respool check` says of a cluster.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { version } from "../../src/cluster/Envelope.ts"
import { examine } from "../../src/cluster/Examine.ts"
import { answerHeader } from "../../src/cluster/sealed/Hello.ts"
import { deriving } from "../../src/config/cluster/ClusterSecret.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { cluster, freePort, nodeAt, secret } from "../support/ClusterNodes.ts"
import { serve } from "../support/Serve.ts"

const settingsOf = (clusterNodes: ReadonlyArray<string>) => ({
  clusterAddress: undefined,
  clusterSecret: undefined,
  clusterSecretFile: undefined,
  clusterDns: undefined,
  clusterDatabase: undefined,
  clusterNodes,
})

describe("a look at a cluster", () => {
  it.live("tells of each node whether it answers, and is one of this cluster", () =>
    Effect.gen(function* () {
      const [own, other] = yield* cluster(2)
      assert.isDefined(own)
      assert.isDefined(other)
      const stranger = yield* nodeAt(yield* freePort, [], { clusterSecret: Redacted.make("another-secret-of-all") })
      const noNode = yield* serve(() => new Response("hello"))
      // It says what a node would, and does not have the secret.
      const hello = { node: other.name, boot: "b", version, draining: false, moved: 0 }
      const liar = yield* serve(() => Response.json(hello, { headers: { [answerHeader]: "mark" } }))
      const away = `http://127.0.0.1:${yield* freePort}`
      const addresses = [
        other.address,
        stranger.address,
        `http://127.0.0.1:${noNode.port}`,
        `http://127.0.0.1:${liar.port}`,
        away,
      ]
      const reports = yield* examine(settingsOf(addresses), own.address, deriving(secret))
      assert.deepStrictEqual(
        reports.map(({ address, outcome }) => [address, outcome]),
        [own.address, ...addresses].map((address, index) => [address, index < 2 ? "ok" : "FAIL"]),
      )
      const [first, , foreign, odd, lie, gone] = reports.map(({ message }) => message)
      assert.strictEqual(first, own.name)
      assert.match(foreign ?? "", /another secret/)
      assert.match(odd ?? "", /no node/)
      assert.match(lie ?? "", /no node|another secret/)
      assert.match(gone ?? "", /nothing answers/)
      assert.isFalse(JSON.stringify(reports).includes(secret))
    }).pipe(Effect.scoped, Effect.provide(Simulator.layer())),
  )

  it.live("says so where nobody tells which nodes there are", () =>
    Effect.gen(function* () {
      const settings = { ...settingsOf([]), clusterDatabase: Redacted.make("postgres://127.0.0.1:1/none") }
      const reports = yield* examine(settings, `http://127.0.0.1:${yield* freePort}`, deriving(secret))
      assert.deepStrictEqual(
        reports.map(({ outcome }) => outcome),
        ["FAIL", "FAIL"],
      )
      assert.strictEqual(reports[1]?.address, "members")
    }),
  )
})
