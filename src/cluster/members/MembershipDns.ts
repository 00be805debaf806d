/**
 * Finds the nodes by a name that has the addresses of all of them, as a headless Service of Kubernetes has.
 *
 * The name is asked for again every five seconds. Where it can't be resolved, the addresses before hold.
 */
import { Duration, Effect, Layer } from "effect"
import { lookup } from "node:dns/promises"
import { addressOf, hostAndPort } from "../../config/Address.ts"
import { Membership } from "./Membership.ts"

const every = Duration.seconds(5)

const within = Duration.seconds(3)

/** Every address of a name; fails where there is none. Replaced in tests. */
type Resolve = (name: string) => Promise<ReadonlyArray<string>>

const resolveName: Resolve = async (name) => (await lookup(name, { all: true })).map(({ address }) => address)

/** `own`: this node's address, at whose port the others listen, too. */
export const layerDns = (name: string, own: string, resolve: Resolve = resolveName): Layer.Layer<Membership> =>
  Layer.effect(
    Membership,
    Effect.gen(function* () {
      const { port } = addressOf(new URL(own))
      let addresses: ReadonlyArray<string> = []
      let failed = false

      const look = Effect.gen(function* () {
        const found = yield* Effect.option(
          Effect.timeout(
            Effect.tryPromise(() => resolve(name)),
            within,
          ),
        )
        if (found._tag === "Some" && found.value.length > 0) {
          addresses = found.value.map((hostname) => `http://${hostAndPort({ hostname, port })}`)
          failed = false
          return
        }
        if (failed) return
        failed = true
        yield* Effect.annotateLogs(Effect.logWarning("the cluster's name can't be resolved; the nodes before hold"), {
          name,
        })
      })

      yield* look
      yield* look.pipe(Effect.delay(every), Effect.forever, Effect.forkScoped)
      return Membership.of({ addresses: () => addresses })
    }),
  )
