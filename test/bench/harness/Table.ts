/**
 * Writes reports as text: a table for each scenario, and one of the targets.
 */
import type { Goal } from "./Goals.ts"
import type { Figures, Report } from "./Scenario.ts"

const figure = (value: number): string =>
  value >= 1000
    ? Math.round(value).toLocaleString("en-US")
    : value >= 100
      ? value.toFixed(0)
      : value >= 10
        ? value.toFixed(1)
        : value.toFixed(2)

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd(),
  )
}

/** Whether a figure is compared with the floor's in the table. */
const compared = (name: string) => /µs|ms|KB\/(session|socket)/.test(name)

const cell = (name: string, median: Figures, toFloor: Figures): string => {
  const value = median[name]
  if (value === undefined) return ""
  const ratio = toFloor[name]
  return compared(name) && ratio !== undefined ? `${figure(value)} (${ratio.toFixed(2)})` : figure(value)
}

export const reportLines = ({ about, rows, scenario, skipped }: Report): ReadonlyArray<string> => {
  const names = [...new Set(rows.flatMap(({ median }) => Object.keys(median)))]
  const cells = rows
    .filter(({ failed }) => failed === undefined)
    .map(({ median, name, toFloor }) => [name, ...names.map((figure) => cell(figure, median, toFloor))])
  return [
    `${scenario}: ${about}`,
    ...table([["", ...names], ...cells]).map((line) => `  ${line}`),
    ...rows.flatMap(({ failed, name }) => (failed === undefined ? [] : [`  ${name} failed: ${failed}`])),
    ...skipped.map((line) => `  ${line}`),
    "",
  ]
}

export const goalLines = (goals: ReadonlyArray<Goal>): ReadonlyArray<string> =>
  table([
    ["target", "at most", "measured", ""],
    ...goals.map(({ atMost, measured, met, what }) => [
      what,
      atMost.toFixed(2),
      measured.toFixed(2),
      met ? "met" : "missed",
    ]),
  ])
