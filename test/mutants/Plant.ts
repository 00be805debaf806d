/**
 * Plants a mistake in the text of a file.
 */
import type { Mutant } from "./Mutants.ts"

/** The text with the mistake in it; undefined: what it stands for is not there, or more than once. */
export const planted = ({ find, replace }: Mutant, text: string): string | undefined => {
  const at = text.indexOf(find)
  if (at < 0 || text.includes(find, at + 1)) return undefined
  return text.slice(0, at) + replace + text.slice(at + find.length)
}
