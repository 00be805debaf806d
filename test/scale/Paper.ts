/**
 * Reckons what many sessions need, from what was measured of one process (test/bench/README.md). A test compares the table with the
 * page's (docs/scale.md, On paper).
 */

/** Of one process, on the machine of the benchmark. */
const measured = {
  /** Seconds of CPU for an event of a stream that is paced as a model is, 256 streams at a time. */
  event: 36.4e-6,
  /** Seconds of CPU for a turn beside its events. */
  turn: 574e-6,
  /** Bytes of memory for a session that waits for its next turn. */
  session: 35.3e3,
  /** What a process has before its first session. */
  process: 109e6,
}

/** What is supposed of the turns. */
const supposed = {
  eventsPerSecond: 40,
  secondsPerTurn: 15,
  /** Bytes of a request, with its whole history. */
  request: 100e3,
  /** How busy a core is meant to be; the rest is for the moment in which a neighbour fails. */
  load: 0.6,
  /** What a turn costs that is handed from node to node, as a multiple: the bound that forwards are held to. */
  handed: 1.6,
  /** Ports that Linux gives one address for connections to one other (`net.ipv4.ip_local_port_range`). */
  localPorts: 28_232,
  /** How often a node asks each other one whether it lives, a second. */
  hellos: 1,
  /** How often a node says in a database that it is there, and reads who else is, a second. */
  beats: 0.5,
}

export interface Load {
  readonly sessions: number
  readonly turns: number
  /** Whether the balancer hashes on the session. */
  readonly hashes: boolean
}

/** `nodes` are processes, each of which has a core. */
export const paper = ({ hashes, sessions, turns }: Load) => {
  const ofTurn = supposed.eventsPerSecond * measured.event + measured.turn / supposed.secondsPerTurn
  const cores = (handed: number) => (turns * ofTurn * (1 + handed * (supposed.handed - 1))) / supposed.load
  const single = Math.ceil(cores(0))
  const nodes = hashes || single === 1 ? single : Math.ceil(cores(1))
  const turnsPerSecond = turns / supposed.secondsPerTurn
  const handed = hashes ? 0 : ((nodes - 1) / nodes) * turnsPerSecond
  return {
    nodes,
    sessionsPerNode: Math.ceil(sessions / nodes),
    turnsPerNode: Math.ceil(turns / nodes),
    memoryPerNode: measured.process + (sessions / nodes) * measured.session,
    turnsPerSecond,
    /** Source addresses that so many upstream sockets need, towards one address of the upstream. */
    addresses: Math.ceil(sessions / supposed.localPorts),
    handedPerSecond: handed,
    /** Bytes a second of requests that go from node to node, of one node. */
    handedBytesPerNode: (handed * supposed.request) / nodes,
    hellosPerNode: (nodes - 1) * supposed.hellos,
    writesPerSecond: nodes * supposed.beats,
    rowsReadPerSecond: nodes * nodes * supposed.beats,
  }
}

const shown = (value: number): string =>
  value >= 1e9
    ? `${(value / 1e9).toFixed(1)} GB`
    : value >= 1e6
      ? `${(value / 1e6).toFixed(0)} MB`
      : `${(value / 1e3).toFixed(0)} KB`

const count = (value: number): string => Math.round(value).toLocaleString("en-US")

const loads: ReadonlyArray<Load> = [
  { sessions: 1_000, turns: 100, hashes: true },
  { sessions: 10_000, turns: 1_000, hashes: true },
  { sessions: 100_000, turns: 10_000, hashes: true },
  { sessions: 1_000_000, turns: 100_000, hashes: true },
  { sessions: 1_000_000, turns: 100_000, hashes: false },
]

export const table = (): string =>
  [
    "| sessions, turns under way | balancer | nodes | sessions and turns, a node | memory, a node | turns a second | handed on a second | handed on, a node | addresses |",
    "|---|---|---|---|---|---|---|---|---|",
    ...loads.map((load) => {
      const { addresses, handedBytesPerNode, handedPerSecond, memoryPerNode, nodes, ...plan } = paper(load)
      const cells = [
        `${count(load.sessions)}, ${count(load.turns)}`,
        load.hashes ? "hashes" : "does not",
        count(nodes),
        `${count(plan.sessionsPerNode)}, ${count(plan.turnsPerNode)}`,
        shown(memoryPerNode),
        count(plan.turnsPerSecond),
        count(handedPerSecond),
        handedPerSecond === 0 ? "0" : `${shown(handedBytesPerNode)}/s`,
        count(addresses),
      ]
      return `| ${cells.join(" | ")} |`
    }),
  ].join("\n")
