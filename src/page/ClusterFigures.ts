/**
 * What a node of a cluster did with turns that were another's; nothing where there is no cluster.
 */
import type { Counts, Frame } from "../observe/live/Frame.ts"
import { count, millis } from "../observe/live/Format.ts"

export const sumOf = (counts: Counts) => Object.values(counts).reduce((sum, number) => sum + number, 0)

export const clusterFigures = ({ gauges, totals }: Frame): ReadonlyArray<readonly [string, string]> => {
  if (gauges["nodes_alive"] === undefined) return []
  const [forwards, takeovers] = [sumOf(totals.forwards), sumOf(totals.takeovers)]
  const why = Object.entries(totals.takeovers).map(([reason, number]) => `${reason} ${count(number)}`)
  return [
    ["Other nodes alive", count(gauges["nodes_alive"])],
    ["Turns of others", count(gauges["turns_of_others"] ?? 0)],
    ["Handed to others", count(forwards)],
    ["Until taken", forwards === 0 ? "–" : millis(totals.forwardMs / forwards)],
    ["Lost with others", count(totals.forwards["lost"] ?? 0)],
    ["Not taken by others", takeovers === 0 ? "0" : why.join(", ")],
  ]
}
