/**
 * Says what is wrong with the settings of a cluster as they are together, in one line: half a cluster must not start.
 */
import type { Redacted } from "effect"

export interface ClusterSettings {
  readonly clusterAddress: string | undefined
  readonly clusterSecret: Redacted.Redacted<string> | undefined
  readonly clusterSecretFile: string | undefined
  readonly clusterNodes: ReadonlyArray<string>
  readonly clusterDns: string | undefined
  readonly clusterDatabase: Redacted.Redacted<string> | undefined
}

type Name = keyof ClusterSettings

/** The settings that say who is there; a cluster has exactly one of them. */
const membership = ["clusterNodes", "clusterDns", "clusterDatabase"] as const

const secrets = ["clusterSecret", "clusterSecretFile"] as const

const isSet = (settings: ClusterSettings, name: Name): boolean => {
  const value = settings[name]
  return Array.isArray(value) ? value.length > 0 : value !== undefined
}

const listed = (names: ReadonlyArray<string>, last: "and" | "or") =>
  `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`

/** Undefined: nothing is wrong. `spell` tells how a setting is called where it is set; `port` is where clients come. */
export const clusterProblem = (
  settings: ClusterSettings,
  port: number,
  spell: (name: Name) => string,
): string | undefined => {
  const given = (names: ReadonlyArray<Name>) => names.filter((name) => isSet(settings, name))
  const { clusterAddress: address } = settings
  const [first] = given([...secrets, ...membership])
  if (address === undefined) {
    return first === undefined
      ? undefined
      : `${spell(first)} needs ${spell("clusterAddress")}, where others reach this node`
  }
  const ownPort = Number(new URL(address).port === "" ? 80 : new URL(address).port)
  if (ownPort === port) {
    return `${spell("clusterAddress")}=${JSON.stringify(address)}: its port is where clients come; name another`
  }
  const secret = given(secrets)
  if (secret.length > 1) return `${listed(secret.map(spell), "and")}: say one of them`
  if (secret.length === 0) return `${spell("clusterAddress")} needs ${listed(secrets.map(spell), "or")}`
  const who = given(membership)
  if (who.length > 1) return `${listed(who.map(spell), "and")}: say one of them`
  return who.length === 0 ? `${spell("clusterAddress")} needs ${listed(membership.map(spell), "or")}` : undefined
}
