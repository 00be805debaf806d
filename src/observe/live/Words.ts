/**
 * Says in words why a turn went as it did, for the terminal and the page (docs/operate.md, Reasons).
 */
import type { TurnEntry } from "./TurnEntry.ts"

const sentInFullAnew = (why: string) => `${why}, so all of it was sent again on a new connection`
const overHttp = (why: string) => `${why}, so it went over HTTP`

export const reasonWords: Readonly<Record<string, string>> = {
  continued: "the request begins with what the connection remembers",
  client_chain: "the client chains by itself, and the connection holds its previous_response_id",
  forked: "the request continues a response that another turn continues as well, on a lane beside it",
  fork_refused: "the upstream did not let a lane continue that response, so all of it was sent again on the lane",
  lanes_refused: "the upstream takes no names of lanes, so it was sent again on a connection of its own",
  no_checkpoint: "nothing is remembered that comes near the request, as with a first turn",
  history_changed: "the conversation is remembered with another history",
  members_changed: "the conversation is remembered with other members of the request",
  session_changed: "the same history is remembered under another session's name, or none",
  affinity_changed:
    "the history is remembered on a connection that this turn can't use: of another upstream, credential, header, query, user or safety_identifier",
  chain_busy: "another turn uses the connection that could go on, as with parallel branches",
  cold_taken_over: "nothing comes near, and the turn was given a connection whose own conversation nobody continued",
  too_costly: "to compare the request would cost more than to send it",
  nothing_new: "every item is known already, and a request with none is no request",
  conversation_bound: "the request keeps its state in a conversation",
  client_anchor: "no connection holds the previous_response_id that the client sent",
  input_not_a_list: "its input is neither a list nor a text",
  anchors_refused: "the upstream has refused the last three suffixes",
  transport_http: overHttp("the settings say so"),
  background: overHttp("the request asks for background"),
  no_scope: overHttp("it is not known who asks"),
  unusual_member: overHttp("its stream or background is no boolean"),
  upstream_http_only: overHttp("the upstream takes no WebSocket"),
  upgrade_refused: overHttp("the upstream refused the upgrade"),
  dial_failed: overHttp("the upstream could not be reached"),
  dial_timeout: overHttp("the upstream did not answer the upgrade in time"),
  dial_backoff: overHttp("the upstream could not be reached just before"),
  pool_full: overHttp("every connection was in use"),
  session_busy: overHttp("every connection of the session was in use"),
  message_too_big: overHttp("the message is larger than a socket takes"),
  policy_close: overHttp("the upstream closed the socket with 1003 or 1008"),
  sockets_closed: overHttp("the upstream closes each socket before it says anything"),
  suffix_refused: sentInFullAnew("the upstream refused the suffix"),
  context_refused: sentInFullAnew("the upstream refused the context"),
  connection_limit: sentInFullAnew("the connection had reached the upstream's limit"),
  upstream_closed: sentInFullAnew("the upstream hung up before its answer began"),
  foreign_event: sentInFullAnew("what came on the connection was another turn's"),
  credential_refused: "the upstream did not take its credential, so it was sent again with a new one",
  socket_lost_before_send: "the connection was lost before anything was written, so another way was taken",
}

const plural = (count: number, one: string) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`

/** The first item, or the members, that are another than before; undefined: nothing is told. */
export const changeOf = ({ way }: Pick<TurnEntry, "way">): string | undefined => {
  const { item, kind, members } = way?.changed ?? {}
  if (members !== undefined) return `not as before: ${members.join(", ")}`
  if (item === undefined) return undefined
  if (kind === "end") return `the input ends before input[${item}], which is remembered`
  return `input[${item}]${kind === undefined ? "" : ` (${kind})`} is the first item that differs`
}

const millis = (value: number) => `${Math.round(value).toLocaleString("en")} ms`

const named = (pairs: ReadonlyArray<readonly [string, string | number | undefined]>) =>
  pairs.flatMap(([name, value]) => (value === undefined ? [] : [`${name} ${value}`])).join(", ")

/** Each fact of a turn with what it is about; `now` on the clock by which the turn ended. */
export const factsOf = (entry: TurnEntry, now: number): ReadonlyArray<readonly [about: string, fact: string]> => {
  const { attempts, usage, way } = entry
  const change = changeOf(entry)
  const facts: ReadonlyArray<readonly [string, string | undefined]> = [
    ["request", entry.turn === entry.request ? entry.request : `${entry.request} (turn ${entry.turn})`],
    [
      "asked by",
      named([
        ["caller", entry.caller.replace(/^caller-/, "")],
        ["session", entry.session],
        ["model", entry.model],
      ]),
    ],
    ["ended", `${Math.round((now - entry.at) / 1000).toLocaleString("en")} s ago, after ${millis(entry.totalMs)}`],
    [
      "times",
      named([
        ["connection had at", entry.leaseMs === undefined ? undefined : millis(entry.leaseMs)],
        ["first event at", entry.firstMs === undefined ? undefined : millis(entry.firstMs)],
      ]),
    ],
    [
      "travelled",
      way === undefined
        ? "not at all: no attempt was made"
        : `over ${way.transport === "http" ? "HTTP" : `a ${way.connection} WebSocket, connection ${way.connectionId}`}, upstream ${way.upstream}${attempts > 1 ? `, at attempt ${attempts}` : ""}`,
    ],
    [
      "ran on",
      way?.node === undefined
        ? undefined
        : `${way.node}${way.takeover === undefined ? "" : `, not on its owner: ${way.takeover}`}`,
    ],
    [
      "sent",
      way === undefined
        ? undefined
        : `${way.input === "suffix" ? "a suffix" : "in full"}: ${way.itemsSent} of ${plural(way.items, "item")}, ${plural(way.bytesUp, "byte")}`,
    ],
    [
      "reason",
      way === undefined
        ? undefined
        : `${way.reason}${reasonWords[way.reason] === undefined ? "" : `: ${reasonWords[way.reason]}`}`,
    ],
    ["changed", change],
    ["outcome", `${entry.outcome}${entry.status === undefined ? ", the client had left" : `, status ${entry.status}`}`],
    [
      "upstream said",
      named([
        ["status", entry.upstreamStatus],
        ["code", entry.upstreamCode],
      ]),
    ],
    [
      "tokens",
      usage === undefined
        ? undefined
        : `input ${usage.input.toLocaleString("en")}, of it cached ${usage.cached.toLocaleString("en")}, output ${usage.output.toLocaleString("en")}`,
    ],
  ]
  return facts.filter((fact): fact is readonly [string, string] => fact[1] !== undefined && fact[1] !== "")
}
