/**
 * Settings as flags of a command: `--port 9000` for `RESPOOL_PORT=9000`, over the environment and the file.
 *
 * Secrets have no flag, since every user of the machine reads the command lines of its processes.
 */
import { env as environment } from "node:process"
import { ConfigProvider, Effect, Option, Schema } from "effect"
import { Flag } from "effect/cli"
import { environmentName, rows, SettingsError } from "../config/Settings.ts"

/** `upstreamUrl` as a flag spells it. */
const flagName = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

/** What people write in place of a flag's name. */
const aliases: Readonly<Record<string, string>> = { upstreamUrl: "upstream", port: "p" }

/** `--log-level` is a flag of every command. */
const names = Object.entries(rows)
  .filter(([name, { secret }]) => !secret && name !== "logLevel")
  .map(([name]) => name)

const flagOf = (name: string) => {
  const flag = Flag.String(flagName(name)).pipe(Flag.withDescription(`as ${environmentName(name)}`), Flag.optional)
  const alias = aliases[name]
  return alias === undefined ? flag : Flag.withAlias(flag, alias)
}

const isSettingsError = Schema.is(SettingsError)

type Given = Readonly<Record<string, Option.Option<string>>>

export const settingFlags: Readonly<Record<string, Flag.Flag<Option.Option<string>>>> = {
  ...Object.fromEntries(names.map((name) => [name, flagOf(name)])),
  config: Flag.String("config").pipe(Flag.withDescription("as RESPOOL_CONFIG"), Flag.optional),
}

/** The environment with what the flags say, and a wrong one is named as it was typed. */
export const withFlags =
  (given: Given) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SettingsError, R> => {
    const said = Object.entries(given).flatMap(([name, value]) =>
      Option.isSome(value) ? [[name, value.value] as const] : [],
    )
    if (said.length === 0) return effect
    const env = Object.fromEntries(said.map(([name, value]) => [environmentName(name), value]))
    const asTyped = (message: string) =>
      said.reduce((text, [name]) => text.replace(`${environmentName(name)}=`, `--${flagName(name)}=`), message)
    return effect.pipe(
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromEnv({ env: { ...(environment as Record<string, string>), ...env } }),
      ),
      Effect.mapError((error) =>
        isSettingsError(error) ? new SettingsError({ message: asTyped(error.message) }) : error,
      ),
    )
  }
