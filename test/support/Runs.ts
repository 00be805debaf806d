/**
 * How often the properties, the fuzzers and the large tables of the tests run: one factor for all of them.
 *
 * The numbers in the tests are those of a full run, which is what CI does (`CI=true`). By hand a thirtieth of it must do,
 * so that all tests together take two minutes; whoever changes what such a test is about runs it in full.
 * `RESPOOL_TEST_RUNS` is the factor itself, and may be more than 1: `RESPOOL_TEST_RUNS=1 bun run test test/wire`.
 */

const byHand = 1 / 30

const factorOf = ({ CI, RESPOOL_TEST_RUNS }: Readonly<Record<string, string | undefined>>): number => {
  if (RESPOOL_TEST_RUNS === undefined) return CI === undefined || CI === "" || CI === "false" ? byHand : 1
  const factor = Number(RESPOOL_TEST_RUNS)
  if (!(factor > 0)) throw new Error(`RESPOOL_TEST_RUNS must be a number above 0, not ${RESPOOL_TEST_RUNS}`)
  return factor
}

const factor = factorOf(process.env)

/** Everything is run. */
export const isFull = factor >= 1

/** How many of `full` runs are made; no fewer than `least`, where fewer would show nothing. */
export const runs = (full: number, least = 1): number => Math.max(Math.ceil(full * factor), Math.min(least, full))

/**
 * The cells of a table that are run, spread over all of it; at least the first. `share` is for a table of which a
 * thirtieth would show too little.
 */
export const sample = <A>(cells: ReadonlyArray<A>, share = factor): ReadonlyArray<A> =>
  isFull ? cells : cells.filter((_, index) => Math.floor(index * share) !== Math.floor((index - 1) * share))
