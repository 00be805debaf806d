/**
 * The page at `/_respool/` in one piece: its script is bundled when it is first asked for, and stands in it with its style.
 *
 * Its policy lets nothing run or be loaded but those two, by their digests, and lets it ask its own origin alone.
 */
import { Effect } from "effect"
import { hash } from "node:crypto"
import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { ApiError } from "../ApiError.ts"
import { signInStyle } from "./SignInStyle.ts"

interface Html {
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/** Where the page's sources lie: beside these, or in the package beside what was built of it. */
const folder = ["../../page/", "../../../src/page/"]
  .map((path) => fileURLToPath(new URL(path, import.meta.url)))
  .find((path) => existsSync(`${path}main.ts`))

const sourceOf = (text: string) => `'sha256-${hash("sha256", text, "base64")}'`

/** `script` and `style` are what may run and apply; undefined: nothing may. */
const headersOf = (style: string, script?: string): Html["headers"] => ({
  "content-security-policy": [
    "default-src 'none'",
    ...(script === undefined ? [] : [`script-src ${sourceOf(script)}`, "connect-src 'self'"]),
    `style-src ${sourceOf(style)}`,
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join("; "),
  // With none at all a browser would send the form as if from nowhere: `Origin: null`.
  "referrer-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
})

/** A text inside of an element whose end tag it must not hold. */
const inElement = (text: string) => text.replaceAll(/<(?=\/(script|style))/gi, "\\3c ").trim()

/**
 * Set where respool is one executable file: the page as it was built with it, since its sources are not there.
 *
 * @internal
 */
declare const builtPage: Html | undefined

const embedded = typeof builtPage === "undefined" ? undefined : builtPage

const build = async (folder: string): Promise<Html> => {
  const { outputs } = await Bun.build({ entrypoints: [`${folder}main.ts`], target: "browser", minify: true })
  const script = (await outputs[0]?.text())?.replaceAll(/<(?=\/script|!--)/gi, "\\x3c").trim() ?? ""
  const style = inElement(await readFile(`${folder}page.css`, "utf8"))
  const html = await readFile(`${folder}page.html`, "utf8")
  const text = html
    .replace("<!-- style -->", () => `<style>${style}</style>`)
    .replace("<!-- script -->", () => `<script type="module">${script}</script>`)
  return { headers: headersOf(style, script), text }
}

let built: Promise<Html> | undefined

/** Where nothing was built with it, from the sources. */
export const makePage = (path = folder): Promise<Html> =>
  path === undefined
    ? Promise.reject(new Error("the page's sources are not there"))
    : (built ??= build(path).catch((cause: unknown) => {
        built = undefined
        throw cause
      }))

/** Fails with 501 where neither the page nor its sources are there. */
export const page: Effect.Effect<Html, ApiError> = Effect.suspend(() => {
  if (embedded !== undefined) return Effect.succeed(embedded)
  return folder === undefined ? Effect.fail(noPage) : Effect.promise(() => makePage())
})

const noPage = new ApiError({
  status: 501,
  message:
    "This build has no page; `respool top` shows the same. The page is there where respool runs from its package.",
  type: "server_error",
  code: "page_not_built",
  param: null,
})

/** Asks for the token; `problem` is said of the one that was given. */
export const signInPage = (problem: string | undefined): Html => ({
  headers: headersOf(signInStyle),
  text: `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>respool: sign in</title>
<style>${signInStyle}</style>
<main>
<h1>respool</h1>
<form method="post" action="/_respool/sign-in">
<label for="token">Operator token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus${problem === undefined ? "" : ' aria-invalid="true" aria-describedby="problem"'}>
${problem === undefined ? "" : `<p id="problem" role="alert">${problem}</p>\n`}<button>Show what goes on</button>
</form>
<p>It is what <code>RESPOOL_OPERATOR_TOKEN</code> says.</p>
</main>
</html>
`,
})
