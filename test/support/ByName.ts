/**
 * Tests that a run by hand leaves out unless it names their file: those that start a browser, a Prometheus, another runtime,
 * a package manager, a storm, or the command line many times, and those that need items of many MiB. Each takes longer than
 * a hundred others and shows what few changes touch.
 *
 * `CI=true` runs them all, and so does `bun run test:all`. What is left out says so in one line, and in its test's name.
 */
import { writeSync } from "node:fs"
import { relative } from "node:path"
import { fileURLToPath } from "node:url"
import { isFull } from "./Runs.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** Runs once before the tests, in the process that was told which files to run and whose environment the workers get. */
export const setup = (): void => {
  const words = process.argv.slice(2).filter((word) => word !== "run" && !word.startsWith("-"))
  Object.assign(process.env, { NAMED_TESTS: words.join("\n") })
}

const { NAMED_TESTS = "" } = process.env

const standardError = 2

/**
 * Why tests of the file at `url` do not run; undefined: they do. `why` goes on after the file's name: "it starts a browser".
 */
export const leftOut = (url: string, why: string): string | undefined => {
  const file = relative(root, fileURLToPath(url))
  const words = NAMED_TESTS.split("\n").filter((word) => word !== "")
  if (isFull || words.some((word) => `${root}${file}`.includes(word.replace(/^\.\//, "")))) return undefined
  writeSync(standardError, `Not run: ${file}, for ${why}. \`bun run test ${file}\` or \`bun run test:all\` runs it.\n`)
  return `left out by hand, for ${why}`
}

/** What the name of a test says behind it where it is skipped. */
export const saying = (why: string | undefined): string => (why === undefined ? "" : `: skipped, ${why}`)
