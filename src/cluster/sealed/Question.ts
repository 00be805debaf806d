/**
 * A short question of one node to another, sealed as a turn is, and its answer, which shows who gave it.
 */
import { atOnce } from "../../wire/Steps.ts"
import type { Node } from "../Nodes.ts"
import { answerHeader } from "./Hello.ts"
import type { Label, Sealing } from "./Sealing.ts"
import { isSameMark, labelHeader } from "./Sealing.ts"

const nothing = new Uint8Array(0)

/** Shows who answered which question, and what. */
const markOf = (sealing: Sealing, path: string, { from, sequence }: Label, text: string): string =>
  sealing.helloMark(`${path} ${from} ${sequence} ${text}`)

/** What the node of that boot says to it; undefined: nothing in time, or it was no node of this cluster that did. */
export const asked = async (
  sealing: Sealing,
  { address }: Node,
  boot: string,
  path: string,
  question: string,
  signal: AbortSignal,
): Promise<string | undefined> => {
  const secret = new TextEncoder().encode(question)
  const { label, text } = sealing.label(boot, { sealed: secret.length, body: 0 })
  try {
    const answer = await fetch(`${address}${path}`, {
      method: "POST",
      headers: { [labelHeader]: text },
      body: atOnce(sealing.seal(label, secret, nothing))[0],
      signal,
      redirect: "manual",
    })
    const said = await answer.text()
    return isSameMark(answer.headers.get(answerHeader) ?? "", markOf(sealing, path, label, said)) ? said : undefined
  } catch {
    return undefined
  }
}

/** The question in a request that was read; undefined: it was changed on the way. */
export const questionOf = (sealing: Sealing, label: Label, bytes: Uint8Array): string | undefined =>
  atOnce(sealing.unseal(label, bytes.subarray(0, label.sealed), bytes.subarray(label.sealed)))?.secret.toString()

export const answered = (sealing: Sealing, path: string, label: Label, text: string): Response =>
  new Response(text, { headers: { [answerHeader]: markOf(sealing, path, label, text) } })
