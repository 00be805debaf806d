/**
 * The kinds of settings: how each is read from a text, and the words that say what is allowed.
 *
 * A kind refuses what could not have been meant rather than guess, since a setting that starts wrong is found late.
 */
import { ByteSize, Config, Duration, Redacted, Schema } from "effect"
import { allowedProxy, direct, normalProxy } from "./ProxyAddress.ts"

/** One setting: how it is read, and what its help says. */
export interface Row<A> {
  readonly read: (name: string) => Config.Config<A>
  readonly fallback: A
  readonly shown: string
  readonly allowed: string
  readonly about: string
  readonly secret: boolean
  /** A value as it would be written where settings are read from, so that one from code is held to the same rule. */
  readonly written: (value: A) => string
}

export type ValueOf<R> = R extends Row<infer A> ? A : never

export const row = <A>(
  read: (name: string) => Config.Config<A>,
  fallback: A,
  shown: string,
  allowed: string,
  about: string,
  secret = false,
  written: (value: A) => string = asText,
): Row<A> => ({ read, fallback, shown, allowed, about, secret, written })

const asText = (value: unknown) => String(Redacted.isRedacted(value) ? Redacted.value(value) : value)

export const optional = (schema: Schema.Codec<string, string>, allowed: string, about: string) =>
  row(
    (name) => Config.map(Config.schema(schema, name), (value): string | undefined => value),
    undefined,
    "",
    allowed,
    about,
  )

export const path = (about: string) => optional(Schema.NonEmptyString, "a path", about)

export const oneOf = <const L extends ReadonlyArray<string>>(literals: L, fallback: L[number], about: string) =>
  row((name) => Config.schema(Schema.Literals(literals), name), fallback, fallback, literals.join(" | "), about)

export const duration = (fallback: Duration.Input & string, about: string) =>
  row(
    (name) =>
      Config.schema(Schema.DurationFromString.check(Schema.makeFilter(isPositive)), name).pipe(
        Config.map(Duration.toMillis),
      ),
    Duration.toMillis(fallback),
    fallback,
    "a duration such as `3 seconds` or `50 minutes`",
    about,
    false,
    (value) => `${value} millis`,
  )

/** A timer cannot be shorter than a millisecond: anything below would spin. */
const isPositive = (value: Duration.Duration) => Duration.isFinite(value) && Duration.toMillis(value) >= 1

export const size = (fallback: string, about: string) =>
  row(
    (name) =>
      Config.schema(Schema.ByteSize.check(Schema.makeFilter((value) => value > 0n && value <= 4n << 30n)), name).pipe(
        Config.map(ByteSize.toNumberUnsafe),
      ),
    ByteSize.toNumberUnsafe(ByteSize.fromStringUnsafe(fallback)),
    fallback,
    "a size such as `64 MiB`, at most 4 GiB",
    about,
    false,
    (value) => `${value} B`,
  )

/** Digits only: what else reads as a number (blanks as 0, `0x10`, `1e3`) was not meant as one. */
const digits = Schema.String.check(Schema.isPattern(/^[0-9]{1,9}$/))

export const whole = (minimum: number, maximum: number) =>
  digits.pipe(Schema.decodeTo(Schema.FiniteFromString.check(Schema.isBetween({ minimum, maximum }))))

export const count = (fallback: number, about: string) =>
  row((name) => Config.schema(whole(1, 999_999_999), name), fallback, String(fallback), "a whole number from 1", about)

export const headerName = /^[\w!#$%&'*+.^`|~-]+$/

/** Headers of the upgrade itself: a client's would break it, or send a credential that is not meant for the upstream. */
const ofUpgrade = /^(authorization|cookie|host|connection|upgrade|content-length|transfer-encoding|sec-websocket-.*)$/

const namesIn = (value: string): ReadonlyArray<string> => value.split(",").map((part) => part.trim().toLowerCase())

const areForwardable = (value: string) => namesIn(value).every((name) => headerName.test(name) && !ofUpgrade.test(name))

export const headerNames = (about: string) =>
  row(
    (name) => Config.map(Config.schema(Schema.String.check(Schema.makeFilter(areForwardable)), name), namesIn),
    [],
    "",
    "header names, separated by commas, but none of the upgrade's own",
    about,
    false,
    (value) => value.join(","),
  )

const isUpstream = (value: string) => /^(https?|wss?):\/\/[^/?#@\s]+(\/[^?#\s]*)?$/i.test(value) && URL.canParse(value)

/** An upstream's address; `shown` is what there is without one. */
export const upstreamAddress = (fallback: string, about: string) =>
  row(
    (name) => Config.schema(Schema.String.check(Schema.makeFilter(isUpstream)), name),
    fallback,
    fallback,
    "an http, https, ws or wss address without user, query or fragment",
    about,
  )

/** What can't stand in a header would fail every request, with the key in the error. */
export const isApiKey = (value: string) => /^\s*[!-~]+\s*$/.test(value)

export const apiKey = (about: string) =>
  row(
    (name) =>
      Config.map(
        Config.schema(Schema.String.check(Schema.makeFilter(isApiKey)), name),
        (value): Redacted.Redacted<string> | undefined => Redacted.make(value.trim()),
      ),
    undefined,
    "",
    "a text of visible ASCII characters",
    about,
    true,
  )

const isModel = (value: string) => /^[!-~]+$/.test(value)

const modelsIn = (value: string): ReadonlyArray<string> => value.split(",").map((part) => part.trim())

export const modelNames = (about: string) =>
  row(
    (name) =>
      Config.map(
        Config.schema(Schema.String.check(Schema.makeFilter((value) => modelsIn(value).every(isModel))), name),
        modelsIn,
      ),
    [],
    "",
    "names of models, in which * stands for anything",
    about,
    false,
    (value) => value.join(","),
  )

const proxyOrNone = (value: string) => (value === direct ? Redacted.make(value) : normalProxy(value))

export const proxyAddress = (about: string) =>
  row(
    (name) =>
      Config.schema(Schema.String.check(Schema.makeFilter((value) => proxyOrNone(value) !== undefined)), name).pipe(
        Config.map(proxyOrNone),
      ),
    undefined,
    "",
    `${allowedProxy}, or \`${direct}\` for none`,
    about,
    true,
  )

/** As a browser sends it: no path, and not the port that a scheme has anyway. */
const isOrigin = (value: string) =>
  /^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s*]+$/.test(value) &&
  URL.canParse(value) &&
  (!/^https?:/.test(value) || new URL(value).origin === value)

const lowerCaseIn = (value: string): ReadonlyArray<string> => value.split(",").map((part) => part.trim().toLowerCase())

const lowerCaseList = (is: (value: string) => boolean, allowed: string, about: string) =>
  row(
    (name) =>
      Config.map(
        Config.schema(Schema.String.check(Schema.makeFilter((value) => lowerCaseIn(value).every(is))), name),
        lowerCaseIn,
      ),
    [],
    "",
    allowed,
    about,
    false,
    (value) => value.join(","),
  )

export const origins = (about: string) =>
  lowerCaseList(isOrigin, "origins such as `https://app.example`, separated by commas", about)

const isHost = (value: string) => /^(\[[0-9a-f:.]+\]|[\w-]+(\.[\w-]+)*)(:\d{1,5})?$/.test(value)

export const hosts = (about: string) =>
  lowerCaseList(isHost, "host names or addresses, each with or without a port, separated by commas", about)

const partsOf = (value: string): ReadonlyArray<string> => value.split(",").map((part) => part.trim())

const isId = (value: string) => /^[\w.:+/=~-]+\*?$/.test(value)

export const ids = (about: string) =>
  row(
    (name) =>
      Config.map(
        Config.schema(Schema.String.check(Schema.makeFilter((value) => partsOf(value).every(isId))), name),
        partsOf,
      ),
    [],
    "",
    "ids, separated by commas; a `*` at the end stands for any rest",
    about,
    false,
    (value) => value.join(","),
  )

const isNode = (value: string) =>
  /^http:\/\/[^/?#@\s:]+:\d{1,5}$|^http:\/\/\[[0-9a-f:.]+\]:\d{1,5}$/i.test(value) && URL.canParse(value)

const nodeForm = "such as `http://10.0.0.1:8090`: http, a host and a port, and nothing else"

/** The URL of a node of a cluster. */
export const nodeAddress = (about: string) =>
  optional(Schema.String.check(Schema.makeFilter(isNode)), `an address ${nodeForm}`, about)

export const nodeAddresses = (about: string) =>
  lowerCaseList(isNode, `addresses ${nodeForm}, separated by commas`, about)

/** A secret of fewer characters could be guessed from what is signed with it. */
const shortestSecret = 16

const isSecret = (value: string) => /^[!-~]+$/.test(value.trim()) && value.trim().length >= shortestSecret

export const sharedSecret = (about: string) =>
  row(
    (name) =>
      Config.map(
        Config.schema(Schema.String.check(Schema.makeFilter(isSecret)), name),
        (value): Redacted.Redacted<string> | undefined => Redacted.make(value.trim()),
      ),
    undefined,
    "",
    `a text of ${shortestSecret} or more visible ASCII characters`,
    about,
    true,
  )

const isPostgres = (value: string) => /^postgres(ql)?:\/\//i.test(value) && URL.canParse(value)

export const databaseAddress = (about: string) =>
  row(
    (name) =>
      Config.map(
        Config.schema(Schema.String.check(Schema.makeFilter(isPostgres)), name),
        (value): Redacted.Redacted<string> | undefined => Redacted.make(value),
      ),
    undefined,
    "",
    "an address such as `postgres://user:password@host/database`",
    about,
    true,
  )
