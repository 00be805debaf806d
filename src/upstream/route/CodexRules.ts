/**
 * Adds what the ChatGPT backend of Codex asks for beyond the API (docs/protocol.md 3 and 6), for clients that know
 * nothing of it.
 *
 * - The backend stores nothing, and streams every answer over HTTP: both are set in the request of every client.
 * - It has events beyond the API's, which only Codex is shown, no other client.
 * - A turn of Codex may span requests, which the backend keeps together by a state. Over HTTP that is a header. On a
 *   socket it comes in events and with the upgrade, and goes back as metadata. Clients of respool always have it in a
 *   header.
 */
import { Option, Schema } from "effect"
import type { TurnSink } from "../../turn/Executor.ts"
import { memberSpan, memberText, readMember } from "../../wire/RequestBody.ts"
import type { RoutedTurn } from "./Routing.ts"

/** Members of a request to set, by name, as JSON texts. */
export type SetMembers = ReadonlyMap<string, string>

const turnState = "x-codex-turn-state"

/** Metadata that is longer, in bytes, stays as the client wrote it, since it would have to be copied to add to it. */
const maxMetadata = 1 << 15

const stateOf = ({ body, headers }: RoutedTurn): string | undefined => {
  const state = headers[turnState]
  if (state === undefined) return undefined
  const written = memberSpan(body, "client_metadata")
  if (written !== undefined && written.end - written.start > maxMetadata) return undefined
  const given = memberText(body, "client_metadata")?.trim() ?? "null"
  const member = `${JSON.stringify(turnState)}:${JSON.stringify(state)}`
  if (given === "null") return `{${member}}`
  // A state that the client has put there itself counts.
  if (!given.startsWith("{") || given.includes(turnState)) return undefined
  return /^\{\s*\}$/.test(given) ? `{${member}}` : `{${member},${given.slice(1)}`
}

const notStored: SetMembers = new Map([["store", "false"]])

/** The members that a turn to the backend has on a socket, in place of the client's. */
export const membersOnSocket = (turn: RoutedTurn): SetMembers | undefined => {
  if (!turn.upstream.known.codex) return undefined
  const state = stateOf(turn)
  return state === undefined ? notStored : new Map([...notStored, ["client_metadata", state]])
}

const streamed: SetMembers = new Map([...notStored, ["stream", "true"]])

/** The members that it has over HTTP. */
export const membersOverHttp = ({ upstream }: RoutedTurn): SetMembers | undefined =>
  upstream.known.codex ? streamed : undefined

/** Whether the upstream stores responses, which then can be continued from any connection. */
const stores = ({ upstream }: RoutedTurn): boolean => !upstream.known.codex

/** Whether a connection that remembers nothing can answer: a stored response is found from anywhere. */
export const isSelfContained = (turn: RoutedTurn): boolean =>
  (readMember(turn.body, "previous_response_id") ?? null) === null ||
  (stores(turn) && readMember(turn.body, "store") !== false)

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

/**
 * A sink that is told only what its client knows. `handshake`: headers of the upgrade's answer, if this turn caused it.
 */
export const codexSink = (turn: RoutedTurn, sink: TurnSink, handshake?: Readonly<Record<string, string>>): TurnSink => {
  if (!turn.upstream.known.codex) return sink
  const toCodex = isCodex(turn)
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
      return toCodex ? sink.event(type, text) : true
    },
    onDrain: (drained, taken) => sink.onDrain(drained, taken),
  }
}

const lowerCase = (headers: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
