/**
 * What a turn costs: without history and one event long; with a history from 10 KB to 10 MB; among few and many sessions.
 */
import type { Scenario } from "../harness/Scenario.ts"
import { proxies, targetNames } from "../harness/Targets.ts"
import { call, message, perTurn, shape, single, turnScenario } from "./TurnScenario.ts"

/** `single` is one event with the whole response in it; the request is one short message of the user. */
const turn = turnScenario({
  name: "turn",
  about:
    "one message in, one event out, 8 at a time: each stream under one session name; without a name; a new name each turn",
  targets: targetNames,
  figures: perTurn,
  shapes: (size) => {
    const turns = { full: 400, quick: 80, smoke: 2 }[size]
    const one = { answer: single, opening: single, continues: false, sessions: 8, streams: 8, turnsPerSession: turns }
    return {
      named: shape({ ...one, naming: "session" }),
      unnamed: shape({ ...one, naming: "none" }),
      renamed: shape({ ...one, naming: "turn", turnsPerSession: turns >> 1 }),
    }
  },
})

/** What a turn adds to its history: the answer's items and the tool's output. */
const growth = 3500

const history = (options: {
  readonly name: string
  readonly bytes: number
  readonly sessions: number
  readonly turns: number
}): Scenario => {
  const { bytes, name, sessions, turns } = options
  return turnScenario({
    name: `history-${name}`,
    about: `${name} of history on average, 2 KB of new items and the answer's two items a turn, one at a time over ${sessions} sessions`,
    targets: proxies,
    figures: perTurn,
    shapes: (size) => {
      const sessionsNow = size === "full" ? sessions : Math.max(1, sessions >> (size === "quick" ? 2 : 6))
      const turnsNow = size === "smoke" ? 1 : turns
      const opened = Math.max(size === "smoke" ? bytes / 10 : bytes - (growth * (turnsNow + 1)) / 2, 500)
      return {
        "": shape({
          opening: call,
          answer: call,
          sessions: sessionsNow,
          turnsPerSession: turnsNow,
          history: opened,
          added: 2000,
          members: 4000,
        }),
      }
    },
  })
}

/** A turn on each of ten sessions, eight times; then on ten others. */
const leases = turnScenario({
  name: "leases",
  about: "short turns on ten sessions at a time, while 10, 1,000 and 10,000 are open; 8 at a time",
  targets: ["respool", "floor"],
  figures: perTurn,
  apart: true,
  shapes: (size) => {
    const opened = size === "smoke" ? [20] : [10, 1000, 10_000]
    const epochs = { full: 40, quick: 10, smoke: 1 }[size]
    return Object.fromEntries(
      opened.map((sessions) => [
        String(sessions),
        shape({ answer: message, sessions, active: 10, epochs, turnsPerSession: 8, streams: 8 }),
      ]),
    )
  },
})

export const turnScenarios: ReadonlyArray<Scenario> = [
  turn,
  history({ name: "10KB", bytes: 10_000, sessions: 300, turns: 4 }),
  history({ name: "100KB", bytes: 100_000, sessions: 40, turns: 20 }),
  history({ name: "1MB", bytes: 1_000_000, sessions: 8, turns: 30 }),
  history({ name: "10MB", bytes: 10_000_000, sessions: 2, turns: 15 }),
  leases,
]
