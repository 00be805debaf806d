/**
 * The command `check`: examines each configured upstream and says in plain lines what works and what to change.
 *
 * It exits with 0 where turns go over WebSocket, with 1 where they do not work or could not be tried, and with 2 where
 * only HTTP works. Of a cluster each node is asked whether it is there. No secret is ever printed.
 */
import { Config, Console, Effect, Layer, Option, Redacted, Runtime, Schema } from "effect"
import { FetchHttpClient } from "effect/http"
import type { ExamineOptions, ExitCode, Report, Step, Target } from "./Examine.ts"
import { examine } from "./Examine.ts"
import { Reach } from "./Reach.ts"
import type { NodeReport } from "../../cluster/Examine.ts"
import { clusterKeys } from "../../config/cluster/ClusterSecret.ts"
import { isApiKey } from "../../config/SettingKinds.ts"
import { Settings, SettingsError } from "../../config/Settings.ts"
import type { UpstreamSettings } from "../../config/UpstreamSettings.ts"
import { Credentials } from "../../upstream/credential/Credentials.ts"
import { layerBun } from "../../upstream/dialer/DialerBun.ts"
import { profiles } from "../../config/Profile.ts"
import { proxyFor } from "../../config/ProxyRules.ts"

/** An upstream does not work as it should. The report has said so already, so only the exit code is left. */
class CheckFailed extends Schema.TaggedError<CheckFailed>()("CheckFailed", {
  exitCode: Schema.Literals([1, 2]),
}) {
  override get [Runtime.errorExitCode]() {
    return this.exitCode
  }
  override readonly [Runtime.errorReported] = false
}

/** In place of the callers' keys, which are not known here: the settings' key, else the one that the `openai` SDK takes. */
const keyOfCallers = Effect.gen(function* () {
  const { upstreamApiKey } = yield* Settings
  if (upstreamApiKey !== undefined) return upstreamApiKey
  const found = yield* Effect.orElseSucceed(Config.option(Config.Redacted("OPENAI_API_KEY")), Option.none)
  const key = Option.match(found, { onNone: () => "", onSome: Redacted.value }).trim()
  if (key === "") return undefined
  if (isApiKey(key)) return Redacted.make(key)
  return yield* new SettingsError({ message: "OPENAI_API_KEY: expected a text of visible ASCII characters" })
})

const headersFor = Effect.fnUntraced(function* ({ credential, name, profile, proxy }: UpstreamSettings) {
  const { beta } = profiles[profile]
  const betas = beta === undefined ? {} : { "openai-beta": beta }
  const resolved = yield* Effect.flatMap(Credentials, ({ resolve }) => resolve(name, credential, proxy))
  if (resolved !== undefined) return Redacted.make({ ...Redacted.value(resolved.headers), ...betas })
  const key = yield* keyOfCallers
  return key === undefined ? undefined : Redacted.make({ authorization: `Bearer ${Redacted.value(key)}`, ...betas })
})

/** An upstream as it is configured, with what it is shown. */
const targetOf = Effect.fnUntraced(function* (upstream: UpstreamSettings) {
  const { environmentProxies } = yield* Settings
  const { name, profile, proxy, tls, tlsVerify, transport, url } = upstream
  const target: Target = {
    name,
    url,
    headers: yield* headersFor(upstream),
    transport,
    codex: profiles[profile].codex,
    tls,
    tlsVerify,
    proxy: proxyFor(environmentProxies, url, proxy),
  }
  return target
})

/** What is said where there is not even a credential to try. */
const withoutCredential = ({ name, url }: UpstreamSettings, message: string): Report => ({
  name,
  url,
  steps: [{ name: "credential", outcome: "FAIL", ms: 0, message }],
  verdict: `Does not work: ${message}.`,
  exitCode: 1,
})

const printedStep = ({ message, ms, name, outcome }: Step) =>
  `${outcome.padEnd(4)}  ${name.padEnd(12)}  ${`${Math.round(ms)} ms`.padStart(9)}  ${message}`

/** The report in lines for people. */
const printed = ({ name, steps, url, verdict }: Report): string =>
  [`${name}: ${url}`, ...steps.map(printedStep), verdict].join("\n")

/** The worst of several: that an upstream does not work counts more than that another works over HTTP only. */
const worst = (codes: ReadonlyArray<ExitCode>): ExitCode => (codes.includes(1) ? 1 : codes.includes(2) ? 2 : 0)

/** Undefined: the settings make no cluster. */
const clusterReport = Effect.gen(function* () {
  const settings = yield* Settings
  const { clusterAddress } = settings
  const derive = yield* Effect.mapError(clusterKeys(settings), ({ message }) => new SettingsError({ message }))
  if (clusterAddress === undefined || derive === undefined) return undefined
  const { examine } = yield* Effect.promise(() => import("../../cluster/Examine.ts"))
  return yield* examine(settings, clusterAddress, derive)
})

const printedNode = ({ address, message, ms, outcome }: NodeReport) =>
  `${outcome.padEnd(4)}  ${"node".padEnd(12)}  ${`${Math.round(ms)} ms`.padStart(9)}  ${address}: ${message}`

export interface CheckOptions extends Pick<ExamineOptions, "turn"> {
  readonly json: boolean
  readonly model: Option.Option<string>
}

/** The command. */
export const check = Effect.fnUntraced(
  function* ({ json, model, turn }: CheckOptions) {
    const settings = yield* Settings
    const options = { timeout: settings.handshakeTimeout, turn, model: Option.getOrUndefined(model) }
    const upstreams: Array<Report> = []
    for (const upstream of settings.upstreams) {
      const report = yield* targetOf(upstream).pipe(
        Effect.flatMap((target) => examine(target, options)),
        Effect.catchTag("TurnError", ({ message }) => Effect.succeed(withoutCredential(upstream, message))),
      )
      upstreams.push(report)
      if (!json) yield* Console.log(printed(report))
    }
    const cluster = yield* clusterReport
    if (!json) for (const node of cluster ?? []) yield* Console.log(printedNode(node))
    const nodesFail = cluster?.some(({ outcome }) => outcome === "FAIL") === true
    const exitCode = worst([...upstreams.map((report) => report.exitCode), ...(nodesFail ? ([1] as const) : [])])
    if (json) yield* Console.log(JSON.stringify({ exitCode, upstreams, ...(cluster === undefined ? {} : { cluster }) }))
    if (exitCode !== 0) return yield* new CheckFailed({ exitCode })
  },
  Effect.provide(
    Layer.mergeAll(Credentials.layer, Reach.layer, layerBun, FetchHttpClient.layer).pipe(
      Layer.provideMerge(Settings.layerConfigUnchecked),
    ),
  ),
)
