// Prints which of respool's own modules are loaded for respool/fetch, and what of Bun's.
import { registerHooks } from "node:module"

const loaded = []
registerHooks({
  load: (url, context, next) => {
    loaded.push(url)
    return next(url, context)
  },
})
const { createFetch } = await import("respool/fetch")
await createFetch().close()
console.log(JSON.stringify(loaded.filter((url) => url.includes("/respool/dist/")).map((url) => url.split("/dist/")[1])))
