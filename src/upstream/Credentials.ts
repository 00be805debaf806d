/**
 * Resolves the credential that an upstream is shown.
 */
import { createHmac, randomBytes } from "node:crypto"
import { Context, Effect, Layer, Redacted } from "effect"
import type { TurnError } from "../turn/TurnError.ts"
import type { CredentialSettings } from "./CredentialSettings.ts"

export interface Resolved {
  /** Lower case, `authorization` among them. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>>
  /** Stands for whom the credential is of; a refresh does not change it. */
  readonly identity: string
}

export class Credentials extends Context.Service<
  Credentials,
  {
    /** Undefined: the upstream is shown the caller's own. */
    readonly resolve: (name: string, settings: CredentialSettings) => Effect.Effect<Resolved | undefined, TurnError>
    readonly refused: (settings: CredentialSettings, identity: string) => Effect.Effect<void>
  }
>()("respool/upstream/Credentials") {
  static readonly layerFixed = Layer.sync(Credentials, () => {
    const secret = randomBytes(32)
    return {
      resolve: (_, settings) =>
        Effect.succeed(
          settings._tag === "Fixed"
            ? {
                headers: Redacted.make({ authorization: `Bearer ${Redacted.value(settings.apiKey)}` }),
                identity: createHmac("sha256", secret).update(Redacted.value(settings.apiKey)).digest("base64url"),
              }
            : undefined,
        ),
      refused: () => Effect.void,
    }
  })

  static readonly layer = Credentials.layerFixed
}
