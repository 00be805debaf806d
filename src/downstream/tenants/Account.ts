/**
 * What answers say of the account that tenants share, which is none of a tenant's business: whose it is, and how much
 * of its limits the others have used (docs/operate.md, Who is asking).
 *
 * Of headers only those pass that are known to say nothing of it. Of texts only errors are changed: what a model writes
 * goes through as it is.
 */
import { Effect, Stream } from "effect"
import type { TurnView } from "../../turn/Executor.ts"
import type { ForwardAnswer } from "../../turn/Forwarder.ts"
import { readAnswer, readRefusal } from "../../turn/AnswerBody.ts"
import { eventType, textAt } from "../../wire/Event.ts"

type Headers = Readonly<Record<string, string>>

/** Of the answer itself, of caching, and of another try. */
const passing: ReadonlySet<string> = new Set([
  "allow",
  "cache-control",
  "content-disposition",
  "content-language",
  "content-type",
  "date",
  "etag",
  "expires",
  "last-modified",
  "openai-version",
  "retry-after",
  "retry-after-ms",
  "vary",
  "www-authenticate",
  "x-content-type-options",
  "x-request-id",
  "x-should-retry",
])

const headersOf = (headers: Headers): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => passing.has(name)))

const mark = "[redacted]"

/** As they stand in a JSON text, where a quotation mark in a string has a backslash. */
const told: ReadonlyArray<readonly [pattern: RegExp, shown: string]> = [
  // Members of an error.
  [
    /"(organi[sz]ation|org|project|account|workspace)(_id|_name|_title)?"(\s*:\s*)"(?:[^"\\]|\\.)*"/gi,
    `"$1$2"$3"${mark}"`,
  ],
  // Ids, and keys with most of them starred out.
  [/\b(?:org-|proj_|user-(?=\w{16})|acct_)[\w-]+/g, mark],
  [/\bsk-[\w.*-]{4,}/g, mark],
  // Names, in quotation marks or between a preposition and what follows.
  [
    /\b(organi[sz]ation|project|workspace|account)((?: named| called| id| name)?:? )(\\?["'`])(?!\[redacted)[^"'`\\]{1,200}\3/gi,
    `$1$2$3${mark}$3`,
  ],
  [
    /\b(in|for|of|by|to|from)( organi[sz]ation:? )(?!\[redacted|\\?["'`])(?:(?! on | has | have | is | was | does | for | at |[.,;:)](?:\s|\\?"|$))[^"\\]){1,200}/gi,
    `$1$2${mark}`,
  ],
  // How much of a limit is used, and how much there is.
  [/\b(Limit|Used|Current)(:? )\d[\d,.]*\d?/g, `$1$2${mark}`],
]

/** The text of an error, without the account's name and figures. */
const withoutAccount = (text: string): string => {
  let result = text
  for (const [pattern, shown] of told) result = result.replace(pattern, shown)
  return result
}

/** The error at a path of a JSON text, in the text. */
const errorWithout = (text: string, path: ReadonlyArray<string>): string => {
  const error = textAt(text, path)
  if (error === undefined || !error.startsWith("{")) return text
  const shown = withoutAccount(error)
  return shown === error ? text : text.replace(error, () => shown)
}

/** An event as a tenant reads it; undefined: it is about the account alone. */
const eventOf = (type: string, text: string): string | undefined => {
  if (type.includes("rate_limits")) return undefined
  if (type === "response.failed") return errorWithout(text, ["response", "error"])
  if (type !== "error") return text
  const headers = textAt(text, ["headers"])
  return withoutAccount(headers === undefined ? text : text.replace(headers, () => envelope(headers)))
}

const envelope = (headers: string): string => {
  const all: unknown = JSON.parse(headers)
  if (typeof all !== "object" || all === null) return "{}"
  return JSON.stringify(Object.fromEntries(Object.entries(all).filter(([name]) => passing.has(name.toLowerCase()))))
}

/** Of a turn's events and failures. */
export const tenantView: TurnView = {
  head: headersOf,
  event: eventOf,
  failure: (error) => {
    const { answer, event } = error
    const shown = event === undefined ? undefined : eventOf(eventType(event) ?? "error", event)
    return error.with({
      ...(shown === undefined ? {} : { event: shown }),
      ...(answer === undefined
        ? {}
        : { answer: { ...answer, headers: headersOf(answer.headers), body: withoutAccount(answer.body) } }),
    })
  },
}

const encoder = new TextEncoder()

const streamOf = (text: string) => Stream.make(encoder.encode(text))

/** A line of server-sent events, in which each event is one line of data, as the API writes them. */
const lineOf = (line: string, seen: Seen | undefined): string => {
  if (!line.startsWith("data:")) return line
  const text = line.slice(5).trim()
  const type = eventType(text)
  if (type === undefined) return line
  seen?.event(type, text)
  const shown = eventOf(type, text)
  return shown === text ? line : `data: ${shown ?? "{}"}`
}

/** Is told what an answer says before it goes out. */
interface Seen {
  readonly whole: (text: string) => void
  readonly event: (type: string, text: string) => void
}

/** The same of an answer that is no turn's: a refusal and an object are read whole, a stream line by line. */
export const tenantAnswer = Effect.fnUntraced(function* (answer: ForwardAnswer, seen?: Seen) {
  const { status } = answer
  const headers = headersOf(answer.headers)
  const type = (headers["content-type"] ?? "").toLowerCase()
  if (status >= 300) return { status, headers, body: streamOf(withoutAccount(yield* readRefusal(answer))) }
  if (type.startsWith("text/event-stream")) {
    const lines = answer.body.pipe(Stream.decodeText(), Stream.splitLines)
    return { status, headers, body: Stream.map(lines, (line) => encoder.encode(`${lineOf(line, seen)}\n`)) }
  }
  // Some upstreams do not say what they answer with, and what an answer makes must be known.
  if (seen === undefined && !/^application\/(.+\+)?json\b/.test(type)) return { ...answer, headers }
  const text = yield* readAnswer(answer)
  seen?.whole(text)
  return { status, headers, body: streamOf(errorWithout(text, ["error"])) }
})
