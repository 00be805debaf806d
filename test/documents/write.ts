/**
 * Writes what is made of the sources into the pages: `bun run docs`.
 */
import { writeFileSync } from "node:fs"
import { generated, manual, read, root } from "./Pages.ts"

for (const path of manual) {
  const page = read(path)
  const made = generated(page)
  if (made === page) continue
  writeFileSync(`${root}${path}`, made)
  console.log(`written: ${path}`)
}
