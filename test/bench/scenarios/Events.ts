/**
 * What an event costs: turns of 500 deltas of 178 bytes, on 1, 32 and 256 streams.
 */
import type { AnswerScript } from "../Protocol.ts"
import type { Scenario, Size } from "../harness/Scenario.ts"
import { proxies } from "../harness/Targets.ts"
import { perEvent, shape, turnScenario } from "./TurnScenario.ts"

const events = (options: {
  readonly name: string
  readonly about: string
  readonly streams: number
  /** Turns of each stream. */
  readonly turns: number
  readonly perSecond?: number
  readonly burst?: boolean
  /** Default: over HTTP, of which all proxies know. */
  readonly front?: "socket"
}): Scenario => {
  const { about, burst = false, front = "http", name, perSecond = 0, streams, turns } = options
  return turnScenario({
    name,
    about,
    targets: front === "http" ? proxies : ["respool", "floor"],
    figures: perEvent,
    shapes: (size: Size) => {
      const small = size === "smoke"
      const answer: AnswerScript = {
        kind: "message",
        deltas: small ? 5 : 500,
        perSecond: small ? perSecond * 10 : perSecond,
        burst,
      }
      const count = small ? Math.min(streams, 4) : streams
      const turnsPerSession = size === "full" ? turns : Math.max(1, size === "quick" ? turns >> 2 : 1)
      return { "": shape({ answer, sessions: count, active: count, streams: count, turnsPerSession, front }) }
    },
  })
}

const unpaced = (streams: number, turns: number) =>
  events({
    name: `events-${streams}`,
    about: `${streams} ${streams === 1 ? "stream" : "streams"}, 500 deltas a turn, one event of each stream in a round of the upstream's loop`,
    streams,
    turns,
  })

const inBursts = (streams: number, turns: number) =>
  events({
    name: `bursts-${streams}`,
    about: `${streams} streams, 500 deltas a turn, the whole turn in one write of the upstream`,
    streams,
    turns,
    burst: true,
  })

export const eventScenarios: ReadonlyArray<Scenario> = [
  unpaced(1, 60),
  unpaced(32, 8),
  unpaced(256, 2),
  inBursts(32, 16),
  inBursts(256, 4),
  events({
    name: "paced-256",
    about: "256 streams of 40 events a second each, 500 deltas a turn",
    streams: 256,
    turns: 1,
    perSecond: 40,
  }),
  events({
    name: "sockets-32",
    about: "32 clients' own WebSockets, 500 deltas a turn, one event of each in a round of the upstream's loop",
    streams: 32,
    turns: 8,
    front: "socket",
  }),
  events({
    name: "sockets-bursts-32",
    about: "32 clients' own WebSockets, 500 deltas a turn, the whole turn in one write of the upstream",
    streams: 32,
    turns: 16,
    burst: true,
    front: "socket",
  }),
]
