/**
 * The modules of `ws` by their path, since in place of a plain `ws` Bun puts a shim.
 */
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

const require = createRequire(import.meta.url)

export const wsModule = (name: "receiver" | "websocket"): unknown =>
  require(join(dirname(require.resolve("ws/package.json")), "lib", `${name}.js`))
