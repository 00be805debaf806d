/**
 * Looks once into the files that hold credentials, so that a wrong one is told at the start and not by the first turn.
 */
import { Effect, FileSystem } from "effect"
import { followLogin } from "./CodexAuth.ts"
import { followToken } from "./TokenFile.ts"
import { SettingsError } from "../../config/SettingsError.ts"
import type { UpstreamSettings } from "../../config/UpstreamSettings.ts"

const fields = { CodexAuth: "codexAuth", TokenFile: "tokenFile" } as const

/** `file` is where the upstreams stand, for errors; credentials of `running` upstreams were looked at before. */
export const checkCredentialFiles = Effect.fnUntraced(function* (
  file: string | undefined,
  upstreams: ReadonlyArray<UpstreamSettings>,
  running: ReadonlyArray<Pick<UpstreamSettings, "credential">> = [],
) {
  const fs = yield* FileSystem.FileSystem
  const known = new Set(running.map(({ credential }) => ("path" in credential ? credential.path : undefined)))
  for (const { credential, name } of upstreams) {
    if (!("path" in credential) || known.has(credential.path)) continue
    const { _tag, path } = credential
    const look =
      _tag === "CodexAuth"
        ? Effect.asVoid(followLogin(fs, path, () => "").current)
        : Effect.asVoid(followToken(fs, path).current)
    yield* Effect.mapError(look, ({ message }) => {
      const hint = path.startsWith("~") ? ": `~` does not stand for the home folder here" : ""
      return new SettingsError({ message: `${file ?? ""}: upstreams.${name}.${fields[_tag]}: ${message}${hint}` })
    })
  }
})
