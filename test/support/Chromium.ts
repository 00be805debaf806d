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

/**
 * Opens a page in a browser of its own, which knows no name of the network but those of `hosts`, all of them this machine.
 * Ends with the scope.
 */
export const openPage = Effect.fnUntraced(function* (url: string, hosts: ReadonlyArray<string>) {
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
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      Bun.spawn(
        [
          chromium ?? "chromium",
          ...alone,
          `--user-data-dir=${profile}`,
          `--host-resolver-rules=${rules}`,
          "--remote-debugging-port=0",
          url,
        ],
        {
          stdout: "ignore",
          stderr: "ignore",
        },
      ),
    ),
    (browser) =>
      Effect.promise(() => {
        browser.kill()
        return browser.exited
      }),
  )
})
