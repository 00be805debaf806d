// Prints which modules are loaded for respool/fetch alone, by the time when it can carry turns, and for what each other
// entry point is loaded with: a path in its package, or the name of a module of the runtime.
import { registerHooks } from "node:module"

const loaded = []
registerHooks({
  load: (url, context, next) => {
    loaded.push(url.split("/node_modules/").at(-1))
    return next(url, context)
  },
})
const { createFetch } = await import("respool/fetch")
const alone = [...loaded]
const fetch = createFetch()
await fetch.ready()
await fetch.close()
const ready = [...loaded]
for (const entry of ["respool", "respool/cluster", "respool/simulator", "respool/testing"]) await import(entry)
console.log(JSON.stringify({ alone, ready, all: loaded }))
