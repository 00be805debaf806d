/**
 * The page of what goes on: takes frames from the proxy, one a second, and shows them.
 */
import type { Frame, Minute } from "../observe/live/Frame.ts"
import type { TurnEntry } from "../observe/live/TurnEntry.ts"
import { changeOf, factsOf, reasonWords } from "../observe/live/Words.ts"
import { charts } from "./Charts.ts"
import { clusterFigures, sumOf } from "./ClusterFigures.ts"
import { byId, clear, element, figures, head, prepend, rows, setText } from "./Dom.ts"
import { bytes, count, lasting, millis, percent } from "../observe/live/Format.ts"

/** So many turns the page keeps. */
const mostTurns = 200

const table = (id: string) => byId(id, HTMLTableElement)
const [feed, running, connections, minutesTable] = [
  table("feed"),
  table("running"),
  table("connections"),
  table("minutes"),
]
const [upstreams, settings] = [table("upstreams"), table("settings")]
const status = byId("status", HTMLParagraphElement)
const pause = byId("pause", HTMLButtonElement)
const state = byId("state", HTMLSelectElement)
const [previous, next] = [byId("previous", HTMLButtonElement), byId("next", HTMLButtonElement)]
const dialog = byId("why", HTMLDialogElement)

head(feed, "The latest first; a request's id tells why.", [
  "Ended",
  "Request",
  "Session",
  "Path",
  "Sent",
  "Reason",
  "Outcome",
  "First event",
  "Took",
  "Saved",
])
head(running, "Those that began first; 50 at most.", [
  "Turn",
  "Session",
  "Model",
  "Path",
  "Sent",
  "Reason",
  "Events",
  "Since",
])
head(connections, "Upstream connections, in the order in which they were dialled.", [
  "Connection",
  "Upstream",
  "State",
  "Age",
  "Session",
  "Turns of its conversation",
])
head(minutesTable, "The latest minute first.", [
  "Minutes ago",
  "Turns",
  "Suffix",
  "Cached",
  "First event p50",
  "p95",
  "Saved",
  "Evictions",
  "Fallbacks",
])
head(upstreams, "The default upstream first.", ["Upstream", "URL", "Transport", "Models"])
head(settings, "Of a secret only whether it is set; bold is another than the default.", ["Setting", "Value"])

const seen = { up: 0, turn: 0, minutes: new Map<number, Minute>() }
let from = 0
let perPage = 50
let source: EventSource | undefined

const say = (text: string, isBad = false) => {
  setText(status, text)
  status.classList.toggle("bad", isBad)
}

const pathOf = (way: TurnEntry["way"]): string =>
  way === undefined
    ? "none"
    : [
        way.transport === "http" ? "HTTP" : `socket #${way.connectionId}, ${way.connection}`,
        ...(way.node === undefined ? [] : [`on ${way.node}`]),
        ...(way.takeover === undefined ? [] : [way.takeover]),
      ].join(", ")

const sentOf = (way: TurnEntry["way"]): string =>
  way === undefined ? "–" : `${way.input}, ${count(way.itemsSent)} of ${count(way.items)}`

const explain = (entry: TurnEntry, now: number) => {
  const facts = byId("facts", HTMLElement)
  facts.replaceChildren(
    ...factsOf(entry, now).flatMap(([about, fact]) => [element("dt", {}, about), element("dd", {}, fact)]),
  )
  dialog.showModal()
}

const addTurn = (entry: TurnEntry, { now }: Frame) => {
  const { firstMs, outcome, request, saved, session, totalMs, way } = entry
  const endedAt = Date.now() - (now - entry.at)
  const button = element("button", { type: "button" }, request)
  button.addEventListener("click", () => explain(entry, now + Date.now() - endedAt - (now - entry.at)))
  const reason = way === undefined ? "–" : [way.reason, changeOf(entry) ?? ""].filter((text) => text !== "").join(": ")
  const cells = [
    new Date(endedAt).toLocaleTimeString(),
    button,
    session ?? "–",
    pathOf(way),
    sentOf(way),
    reason,
    entry.status === undefined ? outcome : `${outcome} ${entry.status}`,
    millis(firstMs),
    millis(totalMs),
    bytes(saved),
  ]
  const row = prepend(feed, cells, mostTurns)
  const words = way === undefined ? undefined : reasonWords[way.reason]
  if (words !== undefined) row.cells[5]?.setAttribute("title", words)
  if ((entry.status ?? 0) >= 400) row.cells[6]?.classList.add("bad")
}

const showHour = ({ minutes, now }: Frame) => {
  const current = Math.floor(now / 60_000)
  for (const one of minutes) seen.minutes.set(one.minute, one)
  for (const minute of seen.minutes.keys()) if (minute <= current - 60) seen.minutes.delete(minute)
  const all = [...seen.minutes.values()].sort((a, b) => a.minute - b.minute)
  byId("charts", HTMLDivElement).replaceChildren(...charts(all, current))
  rows(
    minutesTable,
    all.toReversed().map((one) => [
      String(current - one.minute),
      count(one.turns),
      percent(one.suffix, one.turns),
      percent(one.followUpCachedTokens, one.followUpInputTokens),
      millis(one.p50),
      millis(one.p95),
      bytes(one.saved),
      Object.entries(one.evictions)
        .map(([reason, number]) => `${reason} ${number}`)
        .join(", ") || "–",
      count(one.fallbacks),
    ]),
  )
}

const showNow = ({ gauges, up }: Frame) => {
  const gauge = (name: string) => gauges[name] ?? 0
  const all = gauge("connections_connecting") + gauge("connections_leased") + gauge("connections_idle")
  figures(byId("now", HTMLElement), [
    ["Turns running", count(gauge("turns_running"))],
    ["Turns waiting", count(gauge("turns_waiting"))],
    ["Connections", `${count(all)} of ${count(gauge("connections_max"))}`],
    ["Leased", count(gauge("connections_leased"))],
    ["Idle", count(gauge("connections_idle"))],
    ["Connecting", count(gauge("connections_connecting"))],
    ["Clients' sockets", count(gauge("client_sockets"))],
    ["Event loop late", `${(1000 * gauge("event_loop_lag_seconds")).toFixed(1)} ms`],
    ["Memory", bytes(gauge("resident_memory_bytes"))],
    ["Up", lasting(up)],
  ])
}

const showTotals = (frame: Frame) => {
  const { totals } = frame
  const evicted = sumOf(totals.evictions)
  figures(byId("totals", HTMLElement), [
    ["Turns", count(totals.turns)],
    ["As a suffix", percent(totals.suffix, totals.turns)],
    ["Fallbacks", count(totals.fallbacks)],
    ["Input of clients", bytes(totals.clientBytes)],
    ["Sent upstream", bytes(totals.upstreamBytes)],
    ["Saved", bytes(totals.clientBytes - totals.upstreamBytes)],
    ["Input tokens", count(totals.inputTokens)],
    ["Cached", percent(totals.cachedTokens, totals.inputTokens)],
    ["Evictions", count(evicted)],
    ...clusterFigures(frame),
  ])
}

const showConnections = ({ connections: { fitting, from: at, rows: shown } }: Frame) => {
  rows(
    connections,
    shown.map(({ age, id, session, state, turns, upstream }) => [
      `#${id}`,
      upstream,
      state,
      lasting(age),
      session ?? "–",
      count(turns),
    ]),
  )
  perPage = Math.max(shown.length, 50)
  setText(
    byId("page-of", HTMLSpanElement),
    fitting === 0 ? "none" : `${count(at + 1)} to ${count(at + shown.length)} of ${count(fitting)}`,
  )
  previous.disabled = at === 0
  next.disabled = at + shown.length >= fitting
}

const show = (frame: Frame) => {
  // A proxy that was started anew begins to count anew.
  if (frame.up < seen.up) {
    seen.turn = 0
    seen.minutes.clear()
    clear(feed)
  }
  seen.up = frame.up
  showNow(frame)
  showTotals(frame)
  showHour(frame)
  setText(byId("running-count", HTMLElement), count(frame.gauges["turns_running"] ?? 0))
  rows(
    running,
    frame.running.map(({ age, connectionId, events, input, model, reason, session, transport, turn }) => [
      turn,
      session ?? "–",
      model ?? "–",
      transport === undefined ? "not sent yet" : transport === "http" ? "HTTP" : `socket #${connectionId}`,
      input ?? "–",
      reason ?? "–",
      count(events),
      lasting(age),
    ]),
  )
  for (const entry of frame.turns) {
    if (entry.number <= seen.turn) continue
    seen.turn = entry.number
    addTurn(entry, frame)
  }
  showConnections(frame)
  rows(
    upstreams,
    frame.upstreams.map(({ models, name, transport, url }) => [name, url, transport, models.join(", ")]),
  )
  if (frame.settings === undefined) return
  rows(
    settings,
    frame.settings.map(({ name, value }) => [name, value]),
  )
  frame.settings.forEach(({ isDefault }, index) => {
    settings.tBodies[0]?.rows[index]?.cells[1]?.classList.add(...(isDefault ? ["wide"] : ["wide", "set"]))
  })
}

const open = () => {
  source?.close()
  const query = new URLSearchParams({ from: String(from), ...(state.value === "" ? {} : { state: state.value }) })
  const opened = new EventSource(`/_respool/events?${query}`)
  source = opened
  opened.addEventListener("message", ({ data }) => {
    show(JSON.parse(String(data)) as Frame)
    say("Live")
  })
  opened.addEventListener("error", () => {
    say("The proxy does not answer; trying again", true)
    // It tries by itself but for an answer that is no stream, as where the proxy's token is another by now.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => (source === opened ? open() : undefined), 5000)
  })
}

pause.addEventListener("click", () => {
  const isPaused = source !== undefined
  pause.setAttribute("aria-pressed", String(isPaused))
  if (!isPaused) return open()
  source?.close()
  source = undefined
  say("Paused")
})

const turnTo = (first: number) => {
  from = Math.max(0, first)
  pause.setAttribute("aria-pressed", "false")
  open()
}
previous.addEventListener("click", () => turnTo(from - perPage))
next.addEventListener("click", () => turnTo(from + perPage))
state.addEventListener("change", () => turnTo(0))

open()
