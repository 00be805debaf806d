/**
 * Gives the credential in the Codex CLI's `auth.json`: reads it again when it changes, and never writes or refreshes
 * it, since a refresh by another program would log Codex out.
 *
 * The file holds `tokens.access_token` and `tokens.account_id` of a login with ChatGPT, or `OPENAI_API_KEY`. The
 * credential's identity is the account's, so that a refresh by Codex ends no session. The file may be made later: until
 * then each turn says that there is no login, and the first turn behind it is shown to the upstream.
 */
import type { FileSystem } from "effect"
import { Clock, Effect, Option, Redacted, Schema } from "effect"
import type { Resolved, Source } from "./Credential.ts"
import { followFile, missing, unavailable } from "./SecretFile.ts"

const Text = Schema.optional(Schema.NullOr(Schema.String))

const AuthFile = Schema.fromJsonString(
  Schema.Struct({
    OPENAI_API_KEY: Text,
    tokens: Schema.optional(
      Schema.NullOr(Schema.Struct({ access_token: Schema.String, account_id: Text, id_token: Text })),
    ),
  }),
)

const decode = Schema.decodeUnknownOption(AuthFile)

/** What a token says of itself. It is not verified here; that is the upstream's part. */
const Claims = Schema.fromJsonString(
  Schema.Struct({
    /** In seconds since 1970. */
    exp: Schema.optional(Schema.Number),
    "https://api.openai.com/auth": Schema.optional(
      Schema.Struct({ chatgpt_account_id: Schema.optional(Schema.String) }),
    ),
  }),
)

const claimsOf = (token: string | null | undefined) =>
  Option.getOrUndefined(Schema.decodeOption(Claims)(Buffer.from(token?.split(".")[1] ?? "", "base64url").toString()))

interface Login {
  readonly resolved: Resolved
  /** In milliseconds since 1970; undefined: the token does not say. */
  readonly expiresAt: number | undefined
}

const loginIn = (text: string, identityOf: (secret: string) => string): Login | undefined => {
  const file = Option.getOrUndefined(decode(text))
  if (file === undefined) return undefined
  const { OPENAI_API_KEY: apiKey, tokens } = file
  if (tokens !== undefined && tokens !== null) {
    const { access_token: token, account_id: told, id_token: idToken } = tokens
    const account = told ?? claimsOf(idToken)?.["https://api.openai.com/auth"]?.chatgpt_account_id
    const exp = claimsOf(token)?.exp
    return {
      resolved: {
        headers: Redacted.make({
          authorization: `Bearer ${token}`,
          ...(account === undefined ? {} : { "chatgpt-account-id": account }),
        }),
        identity: identityOf(`account ${account ?? ""}`),
      },
      expiresAt: exp === undefined ? undefined : exp * 1000,
    }
  }
  if (typeof apiKey !== "string" || apiKey === "") return undefined
  return {
    resolved: { headers: Redacted.make({ authorization: `Bearer ${apiKey}` }), identity: identityOf(apiKey) },
    expiresAt: undefined,
  }
}

/** What is left of the file after `codex logout`, or is there before it was written whole. */
const holdsNoLogin = (text: string): boolean => {
  if (text.trim() === "") return true
  const file = Option.getOrUndefined(decode(text))
  return file !== undefined && (file.tokens ?? undefined) === undefined && (file.OPENAI_API_KEY ?? "") === ""
}

/** `identityOf` makes a text of a secret that stands for it. */
export const followLogin = (fs: FileSystem.FileSystem, path: string, identityOf: (secret: string) => string) =>
  followFile(fs, path, {
    parse: (text) => loginIn(text, identityOf),
    isEmpty: holdsNoLogin,
    expected: "the Codex CLI's auth.json: log in with `codex login`",
    mayBeOpen: true,
  })

/** What is said while there is no login. */
export const noLogin = (path: string) => `there is no login in ${path} yet: run \`codex login\``

/** The login as a source of a credential; `identityOf` as above. */
export const codexAuth = (fs: FileSystem.FileSystem, path: string, identityOf: (secret: string) => string): Source => {
  const file = followLogin(fs, path, identityOf)
  return {
    current: Effect.gen(function* () {
      const { expiresAt, resolved } = yield* Effect.mapError(file.current, ({ isAbsent, message }) =>
        isAbsent ? missing(noLogin(path)) : unavailable(message),
      )
      if (expiresAt !== undefined && expiresAt <= (yield* Clock.currentTimeMillis)) {
        return yield* unavailable(`the token in ${path} has expired; running codex refreshes it`)
      }
      return resolved
    }),
    refused: () => Effect.sync(file.lookAgain),
  }
}
