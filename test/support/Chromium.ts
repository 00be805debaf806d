/**
 * A real browser: Debian's Chromium without a window, driven by the pages that it opens.
 */
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** Undefined: it is not installed (`apt-get install chromium`). */
export const chromium = Bun.which("chromium") ?? undefined

const alone = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-proxy-server",
]

/** A browser, for as long as the scope, that knows no name of the network but those of `hosts`, all of them this machine. */
export const makeBrowser = Effect.fnUntraced(function* (hosts: ReadonlyArray<string>) {
  const rules = [
    ...hosts.map((host) => `MAP ${host} 127.0.0.1`),
    "MAP * ~NOTFOUND",
    "EXCLUDE 127.0.0.1",
    "EXCLUDE localhost",
  ].join(", ")
  const profile = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "respool-chromium-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true, maxRetries: 5 })),
  )
  const browser = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn(
        [
          chromium ?? "chromium",
          ...alone,
          `--user-data-dir=${profile}`,
          `--host-resolver-rules=${rules}`,
          "--remote-debugging-port=0",
        ],
        { stdout: "ignore", stderr: "pipe" },
      ),
    ),
    (browser) =>
      Effect.promise(() => {
        browser.kill()
        return browser.exited
      }),
  )
  const control = yield* Effect.promise(() => controlIn(browser.stderr))
  return {
    /** Where it takes commands. */
    control,
    /** Opens a page in a tab of its own. */
    open: (url: string) =>
      Effect.promise(async () => {
        const { ok, status } = await fetch(`${control}/json/new?${url}`, { method: "PUT" })
        if (!ok) throw new Error(`no tab: ${status}`)
      }),
  }
})

/** Where a browser takes commands, which it says first. */
const controlIn = async (said: ReadableStream<Uint8Array>): Promise<string> => {
  let text = ""
  const decoder = new TextDecoder()
  for await (const part of said) {
    text += decoder.decode(part, { stream: true })
    const found = /ws:\/\/(127\.0\.0\.1:\d+)\//.exec(text)?.[1]
    if (found !== undefined) return `http://${found}`
  }
  throw new Error(`the browser ended: ${text}`)
}
