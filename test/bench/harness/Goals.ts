/**
 * The targets that respool is held to, and what the reports say of each.
 */
import type { Report } from "./Scenario.ts"

export interface Goal {
  readonly what: string
  readonly atMost: number
  readonly measured: number
  readonly met: boolean
}

type Look = (row: string, figure: string) => number | undefined

interface Aim {
  readonly what: string
  readonly scenario: string
  readonly atMost: number
  /** From the ratios to the floor and the medians, each by row and figure. */
  readonly of: (ratio: Look, value: Look) => number | undefined
}

const toFloor = (what: string, scenario: string, atMost: number, figure: string, row = "respool"): Aim => ({
  what,
  scenario,
  atMost,
  of: (ratio) => ratio(row, figure),
})

const divided = (a: number | undefined, b: number | undefined) =>
  a === undefined || b === undefined || b === 0 ? undefined : a / b

const aims: ReadonlyArray<Aim> = [
  toFloor("CPU per event, unpaced, 1 stream (no target of the issue)", "events-1", 1.1, "cpu µs/event"),
  toFloor("CPU per event, unpaced, 32 streams", "events-32", 1.1, "cpu µs/event"),
  toFloor("CPU per event, unpaced, 256 streams", "events-256", 1.1, "cpu µs/event"),
  toFloor("CPU per event, unpaced in bursts, 32 streams", "bursts-32", 1.1, "cpu µs/event"),
  toFloor("CPU per event, unpaced in bursts, 256 streams", "bursts-256", 1.1, "cpu µs/event"),
  toFloor("CPU per event, paced 256 × 40/s", "paced-256", 1.1, "cpu µs/event"),
  toFloor("CPU per turn without history, one session name", "turn", 1.5, "cpu µs/turn", "respool named"),
  toFloor("CPU per turn without history, no session name", "turn", 1.5, "cpu µs/turn", "respool unnamed"),
  toFloor("CPU per turn without history, new session names", "turn", 1.5, "cpu µs/turn", "respool renamed"),
  toFloor("CPU per suffix turn, 1 MB of history", "history-1MB", 0.5, "cpu µs/turn"),
  toFloor("CPU per suffix turn, 10 MB of history", "history-10MB", 0.5, "cpu µs/turn"),
  toFloor("time to first event, 1 MB of history, p50", "history-1MB", 1, "first ms p50"),
  toFloor("time to first event, 1 MB of history, p99", "history-1MB", 1.5, "first ms p99"),
  ...["cpu µs/turn", "turn ms p50"].map((figure): Aim => ({
    what: `lease with 10,000 open sessions ÷ with 10, ${figure}`,
    scenario: "leases",
    atMost: 1.2,
    of: (_, value) => divided(value("respool 10000", figure), value("respool 10", figure)),
  })),
  toFloor("memory per idle session after 60 KB, 5,000", "idle-60KB", 1.05, "KB/session", "respool 5000"),
  toFloor("memory per idle session after 60 KB, 10,000", "idle-60KB", 1.05, "KB/session", "respool 10000"),
  toFloor("memory per idle session after 1 MB", "idle-1MB", 0.2, "KB/session", "respool 1000"),
  toFloor("CPU per event on clients' sockets, unpaced, 32", "sockets-32", 1.1, "cpu µs/event"),
  toFloor("CPU per event on clients' sockets, in bursts, 32", "sockets-bursts-32", 1.1, "cpu µs/event"),
  toFloor("memory per client's socket after a turn, 5,000", "sockets-idle", 1, "KB/socket", "respool asked"),
  ...["paced", "unpaced"].map((pace): Aim => ({
    what: `CPU per event of a turn that another node carries ÷ of one's own, ${pace}`,
    scenario: "forward",
    atMost: 1.6,
    of: (_, value) =>
      divided(
        value(`respool ${pace}, handed on`, "cpu µs/event"),
        value(`respool ${pace}, where it lands`, "cpu µs/event"),
      ),
  })),
  {
    what: "first event of a turn that another node carries, ms later than of one's own, p50",
    scenario: "forward",
    atMost: 2,
    of: (_, value) => {
      const [there, here] = ["handed on", "where it lands"].map((way) => value(`respool alone, ${way}`, "first ms p50"))
      return there === undefined || here === undefined ? undefined : there - here
    },
  },
  {
    what: "64,000 aborted turns: RSS after ÷ before",
    scenario: "aborts",
    atMost: 1.3,
    of: (_, value) => value("respool", "RSS after ÷ before"),
  },
  {
    what: "agent loop: bytes up ÷ new items and per-turn members",
    scenario: "agent-loop",
    atMost: 1.05,
    of: (_, value) => value("respool", "up ÷ needed"),
  },
  {
    what: "agent loop: wall time ÷ straight HTTP keep-alive",
    scenario: "agent-loop",
    atMost: 0.35,
    of: (_, value) => divided(value("respool", "wall s"), value("direct", "wall s")),
  },
  {
    what: "cached input of an agent alone ÷ with 8 siblings (at least 0.98 the other way round)",
    scenario: "siblings",
    atMost: 1 / 0.98,
    of: (_, value) =>
      divided(value("respool 0 siblings", "agent cached %"), value("respool 8 siblings", "agent cached %")),
  },
]

/** The targets whose scenarios are among the reports. */
export const goalsOf = (reports: ReadonlyArray<Report>): ReadonlyArray<Goal> =>
  aims.flatMap(({ atMost, of, scenario, what }) => {
    const rows = reports.find((report) => report.scenario === scenario)?.rows ?? []
    const rowOf = (row: string) => rows.find(({ name }) => name === row)
    const measured = of(
      (row, figure) => rowOf(row)?.toFloor[figure],
      (row, figure) => rowOf(row)?.median[figure],
    )
    return measured === undefined ? [] : [{ what, atMost, measured, met: measured <= atMost }]
  })
