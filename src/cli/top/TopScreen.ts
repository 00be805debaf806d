/**
 * Draws what goes on as lines of text: what the page shows, for a terminal.
 */
import type { Counts, Frame, Minute } from "../../observe/live/Frame.ts"
import { bytes, count, lasting, millis, percent } from "../../observe/live/Format.ts"
import type { TurnEntry } from "../../observe/live/TurnEntry.ts"
import { changeOf } from "../../observe/live/Words.ts"

/** What was told so far, since frames tell turns and minutes once. */
export interface Seen {
  readonly frame: Frame
  /** The latest first. */
  readonly turns: ReadonlyArray<TurnEntry>
  readonly minutes: ReadonlyArray<Minute>
}

const mostTurns = 100

/** Takes in the next frame. */
export const after = (seen: Seen | undefined, frame: Frame): Seen => {
  // A proxy that was started anew begins to count anew.
  const before = seen === undefined || frame.up < seen.frame.up ? { turns: [], minutes: [] } : seen
  const told = new Set(frame.minutes.map(({ minute }) => minute))
  const current = Math.floor(frame.now / 60_000)
  return {
    frame,
    turns: [...frame.turns.toReversed(), ...before.turns].slice(0, mostTurns),
    minutes: [...before.minutes.filter(({ minute }) => !told.has(minute)), ...frame.minutes].filter(
      ({ minute }) => minute > current - 60,
    ),
  }
}

const blocks = "▁▂▃▄▅▆▇█"

/** Sixty characters, a minute each; a blank where nothing happened. `top`: the value of a full block. */
const spark = (seen: Seen, value: (minute: Minute) => number | undefined, top?: number): string => {
  const current = Math.floor(seen.frame.now / 60_000)
  const values = new Map(seen.minutes.map((minute) => [minute.minute, value(minute)]))
  const full = top ?? Math.max(0, ...[...values.values()].map((value) => value ?? 0))
  return Array.from({ length: 60 }, (_, index) => {
    const at = values.get(current - 59 + index)
    if (at === undefined || full === 0) return " "
    return blocks[Math.min(7, Math.max(0, Math.floor((at / full) * 8)))] ?? " "
  }).join("")
}

const most = (counts: Counts, names: number): string => {
  const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a)
  const shown = sorted.slice(0, names).map(([name, number]) => `${name} ${count(number)}`)
  return shown.length === 0 ? "none" : [...shown, ...(sorted.length > names ? ["…"] : [])].join(", ")
}

/** Columns as wide as their widest cell. */
const columns = (all: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = all.reduce<ReadonlyArray<number>>(
    (widths, cells) => cells.map((cell, index) => Math.max(widths[index] ?? 0, cell.length)),
    [],
  )
  return all.map((cells) =>
    cells
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  )
}

const turnLine = (entry: TurnEntry, now: number): ReadonlyArray<string> => {
  const { way } = entry
  return [
    lasting(now - entry.at),
    entry.request.slice(0, 24),
    (entry.session ?? "–").slice(0, 20),
    way === undefined ? "none" : way.transport === "http" ? "HTTP" : `#${way.connectionId} ${way.connection}`,
    way === undefined ? "–" : `${way.input} ${way.itemsSent}/${way.items}`,
    entry.status === undefined ? entry.outcome : `${entry.outcome} ${entry.status}`,
    millis(entry.firstMs),
    millis(entry.totalMs),
    [way?.reason ?? "–", changeOf(entry)].filter((text) => text !== undefined).join(": "),
  ]
}

/** The lines for a screen of this size; what does not fit is left out. */
export const screen = (seen: Seen, from: string, size: { readonly rows: number; readonly columns: number }) => {
  const { frame, minutes, turns } = seen
  const { connections, gauges, running, totals } = frame
  const gauge = (name: string) => gauges[name] ?? 0
  const all = gauge("connections_connecting") + gauge("connections_leased") + gauge("connections_idle")
  const latest = minutes.at(-1)
  const share = (part: number, whole: number) => (whole === 0 ? undefined : part / whole)
  const head = [
    `respool at ${from}, up ${lasting(frame.up)}`,
    "",
    `turns        ${count(totals.turns)}, ${percent(totals.suffix, totals.turns)} as a suffix, ${count(totals.fallbacks)} fallbacks; ${count(gauge("turns_running"))} running, ${count(gauge("turns_waiting"))} waiting`,
    `input        ${bytes(totals.clientBytes)} from clients, ${bytes(totals.upstreamBytes)} sent, ${bytes(totals.clientBytes - totals.upstreamBytes)} saved`,
    `tokens       ${count(totals.inputTokens)} of input, ${percent(totals.cachedTokens, totals.inputTokens)} cached`,
    `connections  ${count(all)} of ${count(gauge("connections_max"))}: ${count(gauge("connections_leased"))} leased, ${count(gauge("connections_idle"))} idle, ${count(gauge("connections_connecting"))} connecting`,
    `process      ${bytes(gauge("resident_memory_bytes"))}, event loop ${(1000 * gauge("event_loop_lag_seconds")).toFixed(1)} ms late`,
    `reasons      ${most(totals.reasons, 5)}`,
    `outcomes     ${most(totals.outcomes, 5)}`,
    `evictions    ${most(totals.evictions, 5)}`,
    "",
    `last hour    ${"|".padEnd(61, "-")}|`,
    `suffix       |${spark(seen, (one) => share(one.suffix, one.turns), 1)}| ${latest === undefined ? "" : percent(latest.suffix, latest.turns)}`,
    `cached       |${spark(seen, (one) => share(one.followUpCachedTokens, one.followUpInputTokens), 1)}|`,
    `first event  |${spark(seen, ({ p95 }) => p95)}| p95 ${millis(latest?.p95)}`,
    `saved        |${spark(seen, ({ saved }) => Math.max(0, saved))}| ${latest === undefined ? "" : bytes(latest.saved)}`,
    `fallbacks    |${spark(seen, ({ fallbacks }) => fallbacks)}|`,
  ]
  const table = (title: string, lines: ReadonlyArray<ReadonlyArray<string>>, rows: number) =>
    lines.length < 2 || rows < 3 ? [] : ["", title, ...columns(lines.slice(0, rows - 2))]
  const left = size.rows - head.length
  const under = table(
    "TURNS UNDER WAY",
    [
      ["turn", "session", "model", "path", "events", "since"],
      ...running.map((one) => [
        one.turn,
        (one.session ?? "–").slice(0, 20),
        one.model ?? "–",
        one.transport === "http" ? "HTTP" : one.connectionId === undefined ? "not sent yet" : `#${one.connectionId}`,
        count(one.events),
        lasting(one.age),
      ]),
    ],
    Math.min(10, left),
  )
  const over = table(
    "TURNS THAT ARE OVER",
    [
      ["ago", "request", "session", "path", "sent", "outcome", "first", "took", "reason"],
      ...turns.map((one) => turnLine(one, frame.now)),
    ],
    Math.max(12, left - under.length - 12),
  )
  const open = table(
    "CONNECTIONS",
    [
      ["id", "upstream", "state", "age", "turns", "session"],
      ...connections.rows.map(({ age, id, session, state, turns, upstream }) => [
        `#${id}`,
        upstream,
        state,
        lasting(age),
        count(turns),
        session ?? "–",
      ]),
    ],
    left - under.length - over.length,
  )
  return [...head, ...under, ...over, ...open].slice(0, size.rows).map((line) => plain(line).slice(0, size.columns))
}

/** Without characters that a terminal obeys: names come from clients. */
export const plain = (line: string): string => line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "·")
