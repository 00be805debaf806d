/**
 * Reads of a page what a test can hold against the repository: headings, links, code.
 */

/** Without fenced blocks, in which nothing is a heading or a link. */
const prose = (page: string): string => page.replaceAll(/^```[^]*?^```$/gm, "")

/** The texts of the headings, in their order. */
export const headings = (page: string): ReadonlyArray<string> =>
  [...prose(page).matchAll(/^#+ (.+)$/gm)].map(([, text = ""]) => text.replaceAll("`", ""))

/** The anchor that a heading gets on GitHub. */
export const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-")

/** Targets of links that stay inside of the repository. */
export const links = (page: string): ReadonlyArray<string> =>
  [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, to = ""]) => to).filter((to) => !/^[a-z]+:/.test(to))

/** The texts of inline code. */
export const codeSpans = (page: string): ReadonlyArray<string> =>
  [...prose(page).matchAll(/`([^`]+)`/g)].map(([, text = ""]) => text.replaceAll(/\s+/g, " "))

/** The fenced blocks of a language, without their fences; of none where it is empty. */
export const blocks = (page: string, language: string): ReadonlyArray<string> =>
  [...page.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].flatMap(([, name, text = ""]) => (name === language ? [text] : []))

/** What is shown to be typed, one command or note of one a text. */
export const typed = (page: string): ReadonlyArray<string> => [
  ...codeSpans(page),
  ...blocks(page, "sh").flatMap((block) => block.split("\n")),
  ...[...page.matchAll(/^\$ (.+)$/gm)].map(([, text = ""]) => text),
]

/** The paths from the root of the repository that a text names. */
export const paths = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/(?<![\w./*-])(?:src|test|docs|\.github)\/[\w./*-]*[\w/*]/g)].map(([path]) => path)
