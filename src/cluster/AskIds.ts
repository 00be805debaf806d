/**
 * Asks the other nodes whose ids are of which this node has no record.
 *
 * Each is asked in a sealed request of its own, and only an answer that shows the secret is believed. A node that does
 * not answer within a second is left out: then an id that it alone knows is one that nobody knows.
 */
import { Effect, Schema } from "effect"
import type { OwnedId } from "./ClusterIds.ts"
import { labelHeader } from "./Handover.ts"
import { answerHeader } from "./sealed/Hello.ts"
import type { Node, Nodes } from "./Nodes.ts"
import type { Label, Sealing } from "./sealed/Sealing.ts"
import { isSameMark } from "./sealed/Sealing.ts"
import { atOnce } from "../wire/Steps.ts"

export const idsPath = "/respool/ids"

const within = "1 second"

const Ids = Schema.fromJsonString(Schema.Array(Schema.String))
const Owned = Schema.fromJsonString(Schema.Array(Schema.Struct({ id: Schema.String, scope: Schema.String })))

export const readIds = Schema.decodeUnknownOption(Ids)
const readOwned = Schema.decodeUnknownOption(Owned)

const nothing = new Uint8Array(0)

/** Shows who answered, and what. */
export const markOf = (sealing: Sealing, { from, sequence }: Label, text: string): string =>
  sealing.helloMark(`ids ${from} ${sequence} ${text}`)

export const make = (nodes: Nodes["Service"], sealing: Sealing) => {
  const asked = async (node: Node, boot: string, secret: Uint8Array, signal: AbortSignal) => {
    const { label, text } = sealing.label(boot, { sealed: secret.length, body: 0 })
    try {
      const answer = await fetch(`${node.address}${idsPath}`, {
        method: "POST",
        headers: { [labelHeader]: text },
        body: atOnce(sealing.seal(label, secret, nothing)),
        signal,
        keepalive: false,
        redirect: "manual",
      })
      const said = await answer.text()
      if (!isSameMark(answer.headers.get(answerHeader) ?? "", markOf(sealing, label, said))) return undefined
      const owned = readOwned(said)
      return owned._tag === "Some" ? owned.value : undefined
    } catch {
      return undefined
    }
  }

  const one = (node: Node, secret: Uint8Array): Effect.Effect<ReadonlyArray<OwnedId> | undefined> => {
    // One that stops answers this still, and is reached no more for turns.
    const reached = node.state === "draining" ? Effect.succeed(node) : nodes.reach(node.name)
    return reached.pipe(
      Effect.flatMap(({ boot }) =>
        boot === undefined ? Effect.undefined : Effect.promise((signal) => asked(node, boot, secret, signal)),
      ),
      Effect.timeoutOrElse({ duration: within, orElse: () => Effect.undefined }),
      Effect.orElseSucceed(() => undefined),
    )
  }

  return Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const secret = new TextEncoder().encode(JSON.stringify(ids))
    const live = nodes.all().filter(({ state }) => state === "alive" || state === "draining")
    const owned = yield* Effect.forEach(
      live,
      (node) =>
        Effect.flatMap(one(node, secret), (said) => {
          if (said !== undefined) return Effect.succeed(said)
          // It may have started anew since it was asked last.
          nodes.refused(node, "restarted")
          return Effect.map(one(node, secret), (again) => again ?? [])
        }),
      { concurrency: "unbounded" },
    )
    return owned.flat()
  })
}
