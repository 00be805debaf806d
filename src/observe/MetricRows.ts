/**
 * The metrics: one table with name, labels and what each counts. Names and labels are what dashboards and alerts are
 * made of, so they only change with a reason.
 */

export interface MetricRow {
  readonly name: string
  readonly kind: "counter" | "gauge" | "histogram"
  readonly labels: ReadonlyArray<string>
  /** What a reader should know, for `# HELP` and for the documents. */
  readonly about: string
}

const counter = (about: string, labels: ReadonlyArray<string> = []) => ({ kind: "counter", about, labels }) as const
const gauge = (about: string, labels: ReadonlyArray<string> = []) => ({ kind: "gauge", about, labels }) as const
const seconds = (about: string) => ({ kind: "histogram", about, labels: [] }) as const

const rows = {
  respool_turns_total: counter("Turns that are over, by how their last attempt travelled and how they ended", [
    "upstream",
    "transport",
    "connection",
    "input",
    "reason",
    "outcome",
  ]),
  respool_client_input_bytes_total: counter("Bytes of input that clients sent with their turns"),
  respool_upstream_input_bytes_total: counter(
    "Bytes of input that were sent upstream for them, by all attempts; the difference was saved",
  ),
  respool_tokens_total: counter("Tokens by the upstreams' own count: input, cached of it, output, reasoning of it", [
    "kind",
  ]),
  respool_follow_up_tokens_total: counter(
    "The same for turns after the first of their conversation: input, cached of it",
    ["kind"],
  ),
  respool_dials_total: counter("Dials of upstream connections, by how they ended", ["outcome"]),
  respool_evictions_total: counter("Upstream connections that ended, by why", ["reason"]),
  respool_retries_total: counter("Attempts of turns after the first, by why; over HTTP with http_ in front", [
    "reason",
  ]),
  respool_forwards_total: counter("In a cluster, turns that were handed to their owner, by what became of them", [
    "outcome",
  ]),
  respool_takeovers_total: counter(
    "In a cluster, turns that ran where they came in since their owner took none, by why",
    ["reason"],
  ),
  respool_forward_seconds: seconds("From handing a turn to its owner until the owner had taken it"),
  respool_lease_seconds: seconds("From a turn's request until its connection was had"),
  respool_dial_seconds: seconds("From the start of a dial until it was over"),
  respool_first_event_seconds: seconds("From a turn's request until its first event went to the client"),
  respool_turn_seconds: seconds("From a turn's request until the turn was over"),
  respool_connections: gauge("Upstream connections: connecting, leased to a turn, or idle", ["state"]),
  respool_connections_max: gauge("The most upstream connections that there may be: RESPOOL_MAX_CONNECTIONS"),
  respool_turns_running: gauge("Turns that are not over"),
  respool_turns_waiting: gauge("Turns that wait for a connection, as RESPOOL_BUSY has it"),
  respool_buffered_bytes: gauge("Bytes of answers that wait for clients which are behind"),
  respool_client_sockets: gauge("WebSockets of clients"),
  respool_nodes: gauge("In a cluster, the other nodes: alive, draining, gone, or foreign", ["state"]),
  respool_turns_of_others: gauge("In a cluster, turns that other nodes have handed over and that are not over"),
  respool_event_loop_lag_seconds: gauge("The longest that the event loop was late in the last 15 seconds"),
  process_resident_memory_bytes: gauge("Memory of the process that is resident"),
  process_start_time_seconds: gauge("When the process started, in seconds since 1970"),
} as const

export type MetricName = keyof typeof rows

export const metricRows: Readonly<Record<MetricName, Omit<MetricRow, "name">>> = rows

/** The upper bounds of every histogram of seconds. */
export const secondsBounds: ReadonlyArray<number> = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800,
]
