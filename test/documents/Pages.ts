/**
 * The project's pages, and the parts of them that are made of the sources: the tables of settings and of metrics, and every snippet.
 *
 * A snippet stands between `<!-- snippet PATH -->` and `<!-- /snippet -->`, as the whole file or, with a name behind the path,
 * what lies between `// region NAME` and `// endregion` there. `bun run docs` writes both anew; a test compares them.
 */
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { metricRows } from "../../src/observe/MetricRows.ts"
import { environmentName, rows } from "../../src/config/Settings.ts"

export const root = fileURLToPath(new URL("../../", import.meta.url))

/** `path` is from the root of the repository. */
export const read = (path: string): string => readFileSync(`${root}${path}`, "utf8")

const pagesIn = (folder: string): ReadonlyArray<string> =>
  readdirSync(`${root}${folder}`)
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`)

/** What is written for users: only what a test has run may be shown there as code. */
export const manual: ReadonlyArray<string> = ["README.md", ...pagesIn("docs")]

/** Every page, by its path from the root. */
export const pages: ReadonlyArray<string> = [
  ...manual,
  "CONTRIBUTING.md",
  ...pagesIn(".github"),
  "src/testing/README.md",
  "test/bench/README.md",
]

const settingsTable = (): string =>
  [
    "| setting | default | what for; what is allowed |",
    "|---|---|---|",
    ...Object.entries(rows).map(([name, { about, allowed, shown }]) => {
      const fallback = shown === "" ? "" : `\`${shown}\``
      return `| \`${environmentName(name)}\` | ${fallback} | ${about}; ${allowed.replaceAll("|", "\\|")} |`
    }),
  ].join("\n")

const metricsTable = (): string =>
  [
    "| metric | counts |",
    "|---|---|",
    ...Object.entries(metricRows).map(([name, { about, kind, labels }]) => {
      const shown = labels.length === 0 ? name : `${name}{${labels.join(",")}}`
      return `| \`${shown}\` | ${kind === "histogram" ? `${about}, as a histogram` : about} |`
    }),
  ].join("\n")

/** The sources import their neighbours by path, their readers the package by its name. */
const asImported = (source: string): string =>
  source
    .replaceAll("../../src/Respool.ts", "respool")
    .replaceAll("../../src/simulator/Simulator.ts", "respool/simulator")
    .replaceAll("../../src/testing/Testing.ts", "respool/testing")

const snippet = (path: string, region: string | undefined): string => {
  const source = read(path)
  if (region === undefined) return asImported(source)
  const found = new RegExp(`^ *// region ${region}\\n([^]*?)^ *// endregion$`, "m").exec(source)?.[1]
  if (found === undefined) throw new Error(`${path} has no region ${region}`)
  const indent = /^ */.exec(found)?.[0] ?? ""
  return asImported(found.replaceAll(new RegExp(`^${indent}`, "gm"), ""))
}

/** The page with all that is made of the sources made anew. */
export const generated = (page: string): string =>
  page
    .replace(
      /(<!-- settings -->\n)[^]*?(<!-- \/settings -->)/,
      (_, begin: string, end: string) => `${begin}${settingsTable()}\n${end}`,
    )
    .replace(
      /(<!-- metrics -->\n)[^]*?(<!-- \/metrics -->)/,
      (_, begin: string, end: string) => `${begin}${metricsTable()}\n${end}`,
    )
    .replaceAll(
      /(<!-- snippet (\S+)(?: (\S+))? -->\n)[^]*?(<!-- \/snippet -->)/g,
      (_, begin: string, path: string, region: string | undefined, end: string) =>
        `${begin}\`\`\`ts\n${snippet(path, region)}\`\`\`\n${end}`,
    )
