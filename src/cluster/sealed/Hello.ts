/**
 * What two nodes say to each other before anything else: who is asked shows that it has the secret, which boot it is,
 * and whether it takes turns. Who asks shows that it has the secret, too.
 */
import { Schema } from "effect"
import { randomBytes } from "node:crypto"
import type { Sealing } from "./Sealing.ts"
import { isSameMark } from "./Sealing.ts"

export const helloPath = "/respool/hello"
const askHeader = "x-respool-hello"
export const answerHeader = "x-respool-mark"

const HelloStruct = Schema.Struct({
  /** Its name: host and port of its `RESPOOL_CLUSTER_ADDRESS`. */
  node: Schema.String,
  boot: Schema.String,
  /** Of what nodes hand each other. */
  version: Schema.Number,
  draining: Schema.Boolean,
  /** How many sessions have another node than before, of those whose keeper it is. */
  moved: Schema.Number,
})
export type Hello = typeof HelloStruct.Type

const read = Schema.decodeUnknownOption(Schema.fromJsonString(HelloStruct))

const ask = (sealing: Sealing): { readonly nonce: string; readonly header: string } => {
  const nonce = randomBytes(16).toString("base64url")
  return { nonce, header: `${nonce} ${sealing.helloMark(`ask ${nonce}`)}` }
}

/** The number that is used once, of a node of this cluster; undefined: it is none. */
export const asked = (sealing: Sealing, headers: Headers): string | undefined => {
  const header = headers.get(askHeader) ?? ""
  const [nonce = "", mark = ""] = header.split(" ")
  return isSameMark(mark, sealing.helloMark(`ask ${nonce}`)) ? nonce : undefined
}

const leaveHeader = "x-respool-leaving"

/** The name of a node of this cluster that says that it stops; undefined: none does. */
export const leaving = (sealing: Sealing, headers: Headers): string | undefined => {
  const [nonce = "", mark = "", name = ""] = (headers.get(leaveHeader) ?? "").split(" ")
  return isSameMark(mark, sealing.helloMark(`leave ${nonce} ${name}`)) ? name : undefined
}

/** Tells the node at that address that the one of that name stops, and waits until it has looked, in real time. */
export const takeLeave = async (sealing: Sealing, address: string, name: string, within: number): Promise<void> => {
  const nonce = randomBytes(16).toString("base64url")
  const header = `${nonce} ${sealing.helloMark(`leave ${nonce} ${name}`)} ${name}`
  try {
    const signal = AbortSignal.timeout(within)
    const answer = await fetch(`${address}${helloPath}`, {
      method: "POST",
      headers: { [leaveHeader]: header },
      signal,
      redirect: "manual",
    })
    await answer.text()
  } catch {
    // It finds out when it asks, or when it is refused a turn.
  }
}

export const answered = (sealing: Sealing, nonce: string, hello: Hello) => {
  const text = JSON.stringify(hello)
  return { text, mark: sealing.helloMark(`answer ${nonce} ${text}`) }
}

/** Undefined: it was not a node of this cluster that answered. */
const readHello = (sealing: Sealing, nonce: string, text: string, mark: string): Hello | undefined => {
  if (!isSameMark(mark, sealing.helloMark(`answer ${nonce} ${text}`))) return undefined
  const hello = read(text)
  return hello._tag === "Some" ? hello.value : undefined
}

/** The answer of who listens there; `hello` is undefined where that is no node of this cluster. Undefined: nobody does. */
export const greet = async (
  sealing: Sealing,
  address: string,
  signal: AbortSignal,
): Promise<{ readonly hello: Hello | undefined } | undefined> => {
  const { header, nonce } = ask(sealing)
  try {
    const answer = await fetch(`${address}${helloPath}`, {
      headers: { [askHeader]: header },
      signal,
      redirect: "manual",
    })
    const mark = answer.headers.get(answerHeader) ?? ""
    return { hello: readHello(sealing, nonce, await answer.text(), mark) }
  } catch {
    return undefined
  }
}
