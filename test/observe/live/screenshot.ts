/**
 * `bun test/observe/live/screenshot.ts`: takes the picture of the live page that the README shows, of a proxy that runs
 * some sessions against the simulator, in a headless Chromium.
 */
import { Effect } from "effect"
import { writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { JsonObject } from "../../../src/simulator/JsonText.ts"
import { outputOf } from "../../support/Ask.ts"
import { post } from "../../support/AskProxy.ts"
import { makeBrowser } from "../../support/Chromium.ts"
import { user } from "../../support/Items.ts"
import { openTab } from "../../support/Tab.ts"
import { TestProxy } from "../../support/TestProxy.ts"
import { Simulator } from "../../../src/simulator/Simulator.ts"

const sessions = ["fix-the-build", "write-the-docs", "review"]

/** Some turns of an agent; the second session's history is edited on the way, as a client does that compacts it. */
const session = Effect.fnUntraced(function* (name: string, turns: number) {
  let input: ReadonlyArray<JsonObject> = [user(`${name}: ${"what there is to know of it. ".repeat(60)}`)]
  for (let turn = 0; turn < turns; turn++) {
    const answer = yield* post({ input }, { headers: { "session-id": name, "x-request-id": `${name}-${turn + 1}` } })
    input = [...input, ...outputOf(answer), user(`Go on with part ${turn}. ${"a line of a file ".repeat(40)}`)]
    if (name === "write-the-docs" && turn === 3) input = [user("In short: it is written."), ...input.slice(2)]
  }
})

const program = Effect.gen(function* () {
  const simulator = yield* Simulator
  const { url } = yield* TestProxy
  yield* Effect.forEach(sessions, (name, index) => session(name, 9 - 2 * index), { concurrency: 3 })
  // One turn is under way in the picture.
  yield* simulator.failNext({ _tag: "Hold", at: 12 })
  yield* Effect.forkChild(session("answer-a-question", 1))
  yield* simulator.until(({ turns }) => turns.some(({ status }) => status === "running"))
  const browser = yield* makeBrowser([])
  const tab = yield* openTab(browser.control)
  yield* tab.looks({ scheme: "light", width: 1280 })
  yield* tab.go(`${new URL(url).origin}/_respool/`)
  yield* tab.until(`document.querySelector("#feed tbody")?.rows.length > 15`)
  // The start of the browser kept this machine busy.
  yield* tab.until(`parseFloat(document.querySelector('[data-key="Event-loop-late"]').textContent) < 20`)
  const path = fileURLToPath(new URL("../../../docs/live-page.png", import.meta.url))
  const png = yield* tab.screenshot
  writeFileSync(path, png)
  console.log(`${path}: ${png.length} bytes`)
  yield* simulator.release
})

await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(TestProxy.layerBrief())))
process.exit(0)
