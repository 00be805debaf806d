/**
 * Resolves the credential that an upstream is shown, once for each turn: passed through, fixed, or from a file.
 *
 * Connections are compared by the identity and never by the token, so a refresh ends no session. An app may give
 * another layer, for a vault or for the tokens of a cloud.
 */
import { createHmac, randomBytes } from "node:crypto"
import { Context, Effect, FileSystem, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import type { TurnError } from "../../turn/TurnError.ts"
import type { CredentialSettings } from "../../config/CredentialSettings.ts"
import { proxyFor } from "../../config/ProxyRules.ts"
import { Settings } from "../../config/Settings.ts"
import { codexAuth } from "./CodexAuth.ts"
import type { Resolved, Source } from "./Credential.ts"
import { unavailable } from "./SecretFile.ts"
import { tokenFile } from "./TokenFile.ts"

export class Credentials extends Context.Service<
  Credentials,
  {
    /**
     * Undefined: the upstream is shown what the caller brought. Fails with `credential_unavailable`, without a secret.
     * `proxy`: what the upstream's settings say of one; a refresh goes by it as the upstream's requests do.
     */
    readonly resolve: (
      name: string,
      settings: CredentialSettings,
      proxy?: Redacted.Redacted<string>,
    ) => Effect.Effect<Resolved | undefined, TurnError>
    /** The upstream answered 401 to what was resolved: another is looked for before the next turn. */
    readonly refused: (settings: CredentialSettings, shown: Resolved) => Effect.Effect<void>
  }
>()("respool/upstream/Credentials") {
  /** Knows what callers bring, and fixed keys. Needs nothing. */
  static readonly layerFixed = Layer.sync(Credentials, () => {
    const sourceOf = fixed(makeIdentity())
    return Credentials.of({
      resolve: (name, settings) =>
        settings._tag === "CodexAuth" || settings._tag === "TokenFile"
          ? Effect.fail(unavailable(`the credential of ${name} is in a file, which this app does not read`))
          : sourceOf(settings),
      refused: () => Effect.void,
    })
  })

  /** Knows every kind. Needs a `FileSystem`, and an `HttpClient` and the `Settings` for refreshes. */
  static readonly layerNoDeps = Layer.effect(
    Credentials,
    Effect.suspend(() => make),
  )

  /** The same, with the platform's `fetch`. Needs a `FileSystem` and the `Settings`. */
  static readonly layer = Credentials.layerNoDeps.pipe(Layer.provide(FetchHttpClient.layer))
}

type IdentityOf = (secret: string) => string

const makeIdentity = (): IdentityOf => {
  const key = randomBytes(32)
  return (secret) => createHmac("sha256", key).update(secret).digest("base64url")
}

/** Resolves each key once, since every turn asks for it. */
const fixed = (identityOf: IdentityOf) => {
  const known = new Map<string, Effect.Effect<Resolved>>()
  return (settings: CredentialSettings): Effect.Effect<Resolved | undefined> => {
    if (settings._tag !== "Fixed") return Effect.undefined
    const apiKey = Redacted.value(settings.apiKey)
    const before = known.get(apiKey)
    if (before !== undefined) return before
    const headers = Redacted.make({ authorization: `Bearer ${apiKey}` })
    const resolved = Effect.succeed({ headers, identity: identityOf(apiKey) })
    known.set(apiKey, resolved)
    return resolved
  }
}

const make = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const client = yield* HttpClient.HttpClient
  const { environmentProxies } = yield* Settings
  const scope = yield* Effect.scope
  const identityOf = makeIdentity()
  const fixedOf = fixed(identityOf)
  const sources = new Map<string, Source>()

  /**
   * One source for each file, however many upstreams name it, so that a token is refreshed once for all of them: on the
   * way that the first of them has.
   */
  const sourceOf = (
    { _tag, path }: CredentialSettings & { readonly path: string },
    ofUpstream?: Redacted.Redacted<string>,
  ): Source => {
    const key = `${_tag} ${path}`
    const before = sources.get(key)
    if (before !== undefined) return before
    const proxy = (url: string) => proxyFor(environmentProxies, url, ofUpstream)
    const made =
      _tag === "CodexAuth" ? codexAuth(fs, path, identityOf) : tokenFile({ client, fs, scope, proxy }, path, identityOf)
    sources.set(key, made)
    return made
  }

  return Credentials.of({
    resolve: (_, settings, proxy) => ("path" in settings ? sourceOf(settings, proxy).current : fixedOf(settings)),
    refused: (settings, { headers }) =>
      "path" in settings ? sourceOf(settings).refused(Redacted.value(headers)["authorization"] ?? "") : Effect.void,
  })
})
