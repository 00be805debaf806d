/**
 * What the ChatGPT backend of Codex asks for beyond the API (docs/protocol.md 3 and 6), for clients that know nothing
 * of it.
 *
 * - Nothing is stored there, and an answer over HTTP always streams: both are said for every client.
 * - Events of its own are Codex's; nobody else is shown them.
 * - A turn of Codex may span requests, which the backend keeps together by a state. It comes as a header over HTTP, and in
 *   events and with the upgrade on a socket, where it goes back as metadata. Clients of respool always have it in a header.
 */
import { Option, Schema } from "effect"
import type { TurnSink } from "../../turn/Executor.ts"
import { memberText } from "../../wire/RequestBody.ts"
import type { RoutedTurn } from "./Routing.ts"

/** Members of a request to set, by name, as JSON texts. */
export type SetMembers = ReadonlyMap<string, string>

const turnState = "x-codex-turn-state"

const stateOf = ({ body, headers }: RoutedTurn): string | undefined => {
  const state = headers[turnState]
  if (state === undefined) return undefined
  const theirs = memberText(body, "client_metadata")?.trim() ?? "null"
  const own = `${JSON.stringify(turnState)}:${JSON.stringify(state)}`
  if (theirs === "null") return `{${own}}`
  // What the client says itself counts.
  if (!theirs.startsWith("{") || theirs.includes(turnState)) return undefined
  return /^\{\s*\}$/.test(theirs) ? `{${own}}` : `{${own},${theirs.slice(1)}`
}

const notStored: SetMembers = new Map([["store", "false"]])

/** What a turn says on a socket there, whatever its client said. */
export const membersOnSocket = (turn: RoutedTurn): SetMembers | undefined => {
  if (!turn.upstream.known.codex) return undefined
  const state = stateOf(turn)
  return state === undefined ? notStored : new Map([...notStored, ["client_metadata", state]])
}

const streamed: SetMembers = new Map([...notStored, ["stream", "true"]])

/** The same over HTTP. */
export const membersOverHttp = ({ upstream }: RoutedTurn): SetMembers | undefined =>
  upstream.known.codex ? streamed : undefined

/** Whether a stored response can be continued from anywhere there. */
export const stores = ({ upstream }: RoutedTurn): boolean => !upstream.known.codex

const isCodex = ({ headers }: RoutedTurn): boolean =>
  /^codex/i.test(headers["originator"] ?? "") || /^codex/i.test(headers["user-agent"] ?? "")

const notOfTheApi = /^(codex\.|responsesapi\.|keepalive$|response\.metadata$)/

const decodeMetadata = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ headers: Schema.Record(Schema.String, Schema.String) })),
)

/** Headers of an upgrade's answer that Codex reads. */
const headersOfUpgrade = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).filter(([name]) =>
      /^(x-codex-.*|x-models-etag|x-reasoning-included|openai-model)$/.test(name),
    ),
  )

/** The same sink, told only what its client knows. `handshake`: headers of the upgrade's answer, where that was the turn's. */
export const codexSink = (turn: RoutedTurn, sink: TurnSink, handshake?: Readonly<Record<string, string>>): TurnSink => {
  if (!turn.upstream.known.codex) return sink
  const own = isCodex(turn)
  const told = handshake === undefined ? {} : headersOfUpgrade(handshake)
  if (handshake !== undefined) sink.head(told)
  return {
    route: (route) => sink.route(route),
    head: (headers) => sink.head(headers),
    event: (type, text) => {
      if (!notOfTheApi.test(type)) return sink.event(type, text)
      const metadata = type === "response.metadata" ? decodeMetadata(text) : Option.none()
      if (handshake !== undefined && Option.isSome(metadata)) {
        Object.assign(told, headersOfUpgrade(lowerCase(metadata.value.headers)))
        sink.head(told)
      }
      return own ? sink.event(type, text) : true
    },
    onDrain: (drained, taken) => sink.onDrain(drained, taken),
  }
}

const lowerCase = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
