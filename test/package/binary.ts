/**
 * `bun run build:binary`: one executable file with Bun, respool and its page in it, at the path that is given.
 */
import { fileURLToPath } from "node:url"
import { makePage } from "../../src/downstream/operator/Page.ts"

const [outfile = ""] = process.argv.slice(2)

await Bun.build({
  entrypoints: [fileURLToPath(new URL("../../src/main.ts", import.meta.url))],
  compile: { outfile },
  target: "bun",
  // Made now: in the executable the page's sources are not there.
  define: { builtPage: JSON.stringify(await makePage()) },
})
