/**
 * Examines one upstream from its name to a turn, step by step, and reports what works, what does not, and why.
 *
 * Every step has an end in time. What the upstream says is shown only with the credential and the proxy's password struck
 * out of it. It asks for at most one answer of the model's, of a few tokens.
 */
import type { Scope } from "effect"
import { Duration, Effect, Option, Redacted, Result } from "effect"
import { redactorOf } from "../../turn/Redaction.ts"
import { monotonicMillis } from "../../turn/Elapsed.ts"
import type { DialError, DialRequest } from "../../upstream/dialer/Dialer.ts"
import { parseProxy } from "../../config/ProxyAddress.ts"
import type { Exchange } from "./Exchange.ts"
import { openExchange } from "./Exchange.ts"
import * as Explain from "./Explain.ts"
import { askModels, firstModel } from "./Models.ts"
import { converse } from "./Converse.ts"
import type { Exam, Note, RunStep, Said } from "./Steps.ts"
import { fail } from "./Steps.ts"
import { way } from "./Way.ts"
import type { ExitCode, OverSocket, Report, Step, Target } from "./Report.ts"
import { conclude } from "./Report.ts"

export type { ExitCode, Report, Step, Target }

export interface ExamineOptions {
  /** For each step, in milliseconds. */
  readonly timeout: number
  /** Whether turns are tried. */
  readonly turn: boolean
  /** Undefined: the first that the upstream lists. */
  readonly model: string | undefined
}

/** The credential and the proxy's password, which no report may show. */
const secretsOf = ({ headers, proxy }: Target): ReadonlyArray<Redacted.Redacted<string>> => {
  const sent = headers === undefined ? [] : Object.values(Redacted.value(headers)).map((value) => Redacted.make(value))
  const authorization = proxy === undefined ? undefined : parseProxy(proxy)?.authorization
  if (authorization === undefined) return sent
  const pair = Buffer.from(authorization.slice("Basic ".length), "base64").toString()
  const password = pair.slice(pair.indexOf(":") + 1)
  return [...sent, Redacted.make(authorization), ...(password === "" ? [] : [Redacted.make(`Basic ${password}`)])]
}

/** A text as one line of at most 400 characters, without control characters, which a terminal would obey. */
const tidy = (text: string) => {
  const tidied = text.replace(/[\p{Cc}\p{Cf}\s]+/gu, " ").trim()
  return tidied.length > 400 ? `${tidied.slice(0, 400)}…` : tidied
}

export const examine: (
  target: Target,
  options: ExamineOptions,
) => Effect.Effect<Report, never, Exclude<Exam, Scope.Scope>> = Effect.fn("Check.examine")(function* (target, options) {
  const steps: Array<Step> = []
  const strikes = secretsOf(target).map(redactorOf)
  const strike = (text: string) => strikes.reduce((struck, each) => each(struck), text)
  const note = (name: Step["name"], ms: number, [outcome, message]: Said) => {
    steps.push({ name, outcome, ms, message: tidy(strike(message)) })
  }
  const within = Duration.millis(options.timeout)
  const late: Said = [
    "FAIL",
    `no answer within ${Duration.format(within)} (RESPOOL_HANDSHAKE_TIMEOUT): what is there keeps silent, or something on the way drops what is sent`,
  ]

  /** Runs a step and notes it; undefined where it failed. */
  const step = Effect.fnUntraced(function* <A, E>(
    name: Step["name"],
    run: Effect.Effect<A, E, Exam>,
    say: { readonly ok: (value: A) => Said; readonly wrong: (error: E) => Said },
  ) {
    const startedAt = yield* monotonicMillis
    const result = yield* Effect.timeoutOption(Effect.result(run), within)
    const ms = (yield* monotonicMillis) - startedAt
    if (Option.isNone(result)) {
      note(name, ms, late)
      return undefined
    }
    note(name, ms, Result.match(result.value, { onFailure: say.wrong, onSuccess: say.ok }))
    return Result.getOrUndefined(result.value)
  })

  const found = yield* Effect.scoped(lookAt(target, options, step, note))
  const why = steps.find(({ outcome }) => outcome === "FAIL")?.message ?? "it could not be reached"
  const { turn } = options
  const { exitCode, verdict } = conclude({ ...found, turn, transport: target.transport, why })
  return { name: target.name, url: target.url, steps, verdict, exitCode }
})

const lookAt = Effect.fnUntraced(function* (target: Target, options: ExamineOptions, step: RunStep, note: Note) {
  const headers = target.headers === undefined ? {} : Redacted.value(target.headers)
  const tls: NonNullable<DialRequest["tls"]> = {
    ...target.tls,
    ...(target.tlsVerify === "off" ? { verify: false as const } : {}),
  }
  const missing = "there is no credential; set RESPOOL_UPSTREAM_API_KEY or OPENAI_API_KEY"
  const unknown = target.headers === undefined
  if (unknown) note("credential", 0, ["warn", `${missing}; what needs none is looked at all the same`])

  const over = { overSocket: "untried" as OverSocket, overHttp: false, missing: undefined as string | undefined }
  const open = yield* way(target, tls, step)
  if (open === "none") return over
  if (open === "http") over.overSocket = "unusable"

  let exchange: Exchange | undefined
  let asks = false
  if (target.transport !== "http" && open === "whole") {
    const dialled: { error?: DialError } = {}
    const request = {
      url: `${target.url.replace(/^http/i, "ws")}/responses`,
      headers,
      tls,
      maxMessage: 4 * 1024 * 1024,
      ...(target.proxy === undefined ? {} : { proxy: target.proxy }),
    }
    const refusal = ({ answer }: DialError) =>
      answer === undefined ? undefined : Explain.unauthorised(answer.status, answer.headers, answer.body)
    exchange = yield* step("upgrade", openExchange(request), {
      ok: () => ["ok", "a WebSocket was opened"],
      wrong: (error) => {
        dialled.error = error
        return refusal(error) === undefined
          ? fail(Explain.notUpgraded(error))
          : ["ok", `the upgrade was answered with ${error.answer?.status}`]
      },
    })
    const refused = dialled.error === undefined ? undefined : refusal(dialled.error)
    const status = dialled.error?.answer?.status
    if (refused !== undefined) {
      asks = unknown && status === 401
      over.overSocket = status === 403 ? "barred" : "refused"
      note("authenticate", 0, asks ? ["warn", "the upstream is there and asks for a credential (401)"] : fail(refused))
    } else if (exchange === undefined) over.overSocket = "unusable"
    else {
      over.overSocket = "opened"
      if (!unknown) note("authenticate", 0, ["ok", "the upgrade was let through with the credential"])
    }
  }

  const listed = yield* step("models", askModels({ url: target.url, headers, tls, proxy: target.proxy }), {
    ok: ({ body, headers, models, status }) => {
      if (status >= 200 && status < 300) {
        return [
          "ok",
          `GET /models over HTTP was answered (${models.length} ${models.length === 1 ? "model" : "models"})`,
        ]
      }
      const refused = Explain.unauthorised(status, headers, body)
      const outcome = !asks && (exchange === undefined || status === 401) ? "FAIL" : "warn"
      return [
        outcome,
        refused ?? `GET /models was answered with ${status}: check the path in RESPOOL_UPSTREAM_URL (…/v1)`,
      ]
    },
    wrong: ({ code, message }) => fail(`${message}${code === "" ? "" : ` (${code})`}`),
  })
  over.overHttp = listed !== undefined && listed.status >= 200 && listed.status < 300
  if (exchange === undefined || !options.turn) {
    asks ||= unknown && listed?.status === 401
    return asks ? { ...over, missing } : over
  }
  const model = options.model ?? firstModel(listed?.models ?? [])
  if (model === undefined) {
    note("turn", 0, ["warn", "no model is known to try a turn with: name one with --model"])
    return { ...over, missing: "no model is known; name one with --model" }
  }
  return { ...over, overSocket: yield* converse(exchange, model, target.codex === true, step) }
})
