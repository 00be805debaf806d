/**
 * Reads the files that hold credentials once, so that a wrong one is reported at the start and not by the first turn.
 *
 * A login that a person has yet to make is no mistake: the start says so, and goes on.
 */
import { Effect, FileSystem, Layer } from "effect"
import type { SettingsValues } from "../../config/Settings.ts"
import { Settings, SettingsError } from "../../config/Settings.ts"
import type { UpstreamSettings } from "../../config/UpstreamSettings.ts"
import { followLogin, noLogin } from "./CodexAuth.ts"
import { followToken } from "./TokenFile.ts"

const fields = { CodexAuth: "codexAuth", TokenFile: "tokenFile" } as const

/** Leaves out the credentials of `running` upstreams, which were checked before. */
export const checkCredentialFiles = Effect.fnUntraced(function* (
  { upstreams, upstreamsFile }: Pick<SettingsValues, "upstreams" | "upstreamsFile">,
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
    const isHomeless = path.startsWith("~")
    yield* Effect.catch(look, ({ isAbsent, message }) => {
      if (_tag === "CodexAuth" && isAbsent && !isHomeless) {
        return Effect.annotateLogs(Effect.logWarning(`${noLogin(path)}; until then its turns are refused`), {
          upstream: name,
        })
      }
      const hint = isHomeless ? ": `~` does not stand for the home folder here" : ""
      return Effect.fail(
        new SettingsError({
          message: `${upstreamsFile ?? "Settings.layer"}: upstreams.${name}.${fields[_tag]}: ${message}${hint}`,
        }),
      )
    })
  }
})

/** Fails the start where a file can't be used. Needs `Settings` and a `FileSystem`. */
export const layer = Layer.effectDiscard(Effect.flatMap(Settings, (settings) => checkCredentialFiles(settings)))
