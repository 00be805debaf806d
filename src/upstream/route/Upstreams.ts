/**
 * The upstreams that turns may go to, and which of them serves a model.
 *
 * There is always a default one. A reload replaces them: an upstream that did not change stays the same object and
 * keeps its connections; a changed one becomes another object, so no new turn finds a connection of the old one.
 */
import { hash } from "node:crypto"
import { Context, Effect, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import { Settings } from "../../config/Settings.ts"
import type { UpstreamSettings, Upstreams as AllSettings } from "../../config/UpstreamSettings.ts"
import type { Profile } from "../../config/Profile.ts"
import { profiles } from "../../config/Profile.ts"

export interface Upstream extends UpstreamSettings {
  readonly known: Profile
  /** `wss://…/v1/responses`, with the query of the client's URL. */
  readonly socketFor: (query: string) => string
  /** Equal for equal settings only. It is made of secrets too, so it is never shown. */
  readonly digest: string
}

export const makeUpstream = (settings: UpstreamSettings): Upstream => {
  const socket = `${settings.url.replace(/^http/i, "ws")}/responses`
  return {
    ...settings,
    known: profiles[settings.profile],
    socketFor: (query) => `${socket}${query}`,
    digest: hash("sha256", asText(settings), "base64url"),
  }
}

/** All settings as text; `Redacted` does not show its secrets in JSON, so they are added. */
const asText = (settings: UpstreamSettings): string => {
  const { credential, proxy } = settings
  const apiKey = credential._tag === "Fixed" ? Redacted.value(credential.apiKey) : ""
  return JSON.stringify([settings, apiKey, proxy === undefined ? "" : Redacted.value(proxy)])
}

/** What a reload did, by the names of the upstreams. */
export interface Replaced {
  readonly kept: ReadonlyArray<string>
  /** Changed or new. */
  readonly made: ReadonlyArray<string>
  readonly gone: ReadonlyArray<string>
}

export class Upstreams extends Context.Service<
  Upstreams,
  {
    /** The default one first. */
    readonly all: () => readonly [Upstream, ...ReadonlyArray<Upstream>]
    /** An exact name before a pattern, of patterns the longest, else the default upstream. */
    readonly forModel: (model: string | undefined) => Upstream
    /** False: a reload has replaced it. */
    readonly isCurrent: (upstream: Upstream) => boolean
    readonly replace: (settings: AllSettings) => Replaced
    /** The listener is called after each `replace`. */
    readonly listen: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("respool/upstream/Upstreams") {
  static readonly layerNoDeps = Layer.effect(
    Upstreams,
    Effect.map(Settings, ({ upstreams }) => make(upstreams)),
  )
}

const make = (settings: AllSettings): Upstreams["Service"] => {
  const listeners = new Set<() => void>()
  let all = upstreamsOf(settings, [])
  let serving = routesOf(all)

  return {
    all: () => all,
    forModel: (model) => (model === undefined || serving === undefined ? all[0] : (serving(model) ?? all[0])),
    isCurrent: ({ digest }) => all.some((upstream) => upstream.digest === digest),
    replace: (next) => {
      const before = all
      all = upstreamsOf(next, before)
      serving = routesOf(all)
      const listening = [...listeners]
      for (const listener of listening) listener()
      const names = (upstreams: ReadonlyArray<Upstream>) => upstreams.map(({ name }) => name)
      return {
        kept: names(all.filter((upstream) => before.includes(upstream))),
        made: names(all.filter((upstream) => !before.includes(upstream))),
        gone: names(before).filter((name) => !names(all).includes(name)),
      }
    },
    listen: (listener) =>
      Effect.acquireRelease(
        Effect.sync(() => void listeners.add(listener)),
        () => Effect.sync(() => void listeners.delete(listener)),
      ),
  }
}

const upstreamsOf = (
  [first, ...others]: AllSettings,
  before: ReadonlyArray<Upstream>,
): readonly [Upstream, ...ReadonlyArray<Upstream>] => {
  const same = (settings: UpstreamSettings): Upstream => {
    const made = makeUpstream(settings)
    return before.find(({ digest }) => digest === made.digest) ?? made
  }
  return [same(first), ...others.map(same)]
}

/** Undefined where no upstream names a model, so that a turn's model need not be looked up. */
const routesOf = (all: ReadonlyArray<Upstream>): ((model: string) => Upstream | undefined) | undefined => {
  const exact = new Map<string, Upstream>()
  const patterns: Array<{
    readonly serves: (model: string) => boolean
    readonly length: number
    readonly upstream: Upstream
  }> = []
  for (const upstream of all) {
    for (const model of upstream.models) {
      if (!model.includes("*")) exact.set(model, upstream)
      else patterns.push({ serves: patternOf(model), length: model.length, upstream })
    }
  }
  if (exact.size === 0 && patterns.length === 0) return undefined
  const longestFirst = patterns.toSorted((a, b) => b.length - a.length)
  return (model) => exact.get(model) ?? longestFirst.find(({ serves }) => serves(model))?.upstream
}

/**
 * Whether a text is what a pattern with `*` means. It is not a regular expression, since the text is a client's, which
 * could keep an expression busy that backtracks at each `*`: 400 letters take 1.3 s against `*a*a*a*b`, and 1 µs here
 * (Bun 1.4.5).
 */
const patternOf = (pattern: string): ((text: string) => boolean) => {
  const [first = "", ...rest] = pattern.split("*")
  const last = rest.pop() ?? ""
  return (text) => {
    if (!text.startsWith(first)) return false
    let at = first.length
    for (const part of rest) {
      const found = text.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return text.length - at >= last.length && text.endsWith(last)
  }
}
