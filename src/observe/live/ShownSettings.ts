/**
 * Says which settings are in force, as they would be written, and of a secret only whether there is one.
 */
import { Duration } from "effect"
import type { Row } from "../../config/SettingKinds.ts"
import { areOfUpstreams } from "../../config/SettingRows.ts"
import type { SettingsValues } from "../../config/Settings.ts"
import { environmentName, rows } from "../../config/Settings.ts"
import type { ShownSetting } from "./Frame.ts"

const names = Object.keys(rows) as ReadonlyArray<keyof typeof rows>

const valueOf = ({ secret, written }: Row<unknown>, value: unknown): string => {
  if (value === undefined) return ""
  if (secret) return "(set)"
  const text = written(value)
  const millis = /^(\d+) millis$/.exec(text)?.[1]
  return millis === undefined ? text : Duration.format(Duration.millis(Number(millis)))
}

/** Those that upstreams are made of are left out: a reload may change them, and upstreams are shown themselves. */
export const shownSettings = (settings: SettingsValues): ReadonlyArray<ShownSetting> =>
  names
    .filter((name) => !areOfUpstreams.has(name))
    .map((name) => {
      const row = rows[name] as Row<unknown>
      const value = valueOf(row, settings[name])
      return { name: environmentName(name), value, isDefault: value === valueOf(row, row.fallback) }
    })
