// Prints the folders from which effect is loaded for all of respool, and what version it says it is.
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath } from "node:url"

const folders = new Set()
registerHooks({
  load: (url, context, next) => {
    const folder = /^.*\/node_modules\/effect\//.exec(url)?.[0]
    if (folder !== undefined) folders.add(folder)
    return next(url, context)
  },
})
for (const entry of ["respool", "respool/fetch", "respool/simulator", "respool/testing"]) await import(entry)
await import("effect")
const versions = [...folders].map(
  (url) => JSON.parse(readFileSync(fileURLToPath(`${url}package.json`), "utf8")).version,
)
console.log(JSON.stringify({ versions }))
process.exit(0)
