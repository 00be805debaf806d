/**
 * Follows `respool.json`: changes to upstreams hold from the next turn on, without a restart.
 *
 * - An upstream that did not change keeps its connections. Of a changed one the idle connections go at once, and those
 *   in use when their turn is over.
 * - A file that can't be used, or is gone, changes nothing; one line in the log says why. Nor can a file be used that
 *   would be safe only together with the other settings that it changes.
 * - Other settings, and those of the environment, hold from the next start on; the log names those that changed.
 *
 * The file is looked at every second, and so are those of the certificate to listen with: another one is shown from the
 * next connection on. `now` reads them even if they did not change, with the key and certificate files of upstreams; the
 * command line calls it at SIGHUP. `Keys` follows the keys file, and `Credentials` follows tokens.
 */
import { Context, Effect, FileSystem, Layer, Option, Redacted, Schedule, Semaphore } from "effect"
import { gone, lookAt, lookEvery } from "./config/Files.ts"
import type { SettingsValues } from "./config/Settings.ts"
import { areOfUpstreams } from "./config/SettingRows.ts"
import { rows, Settings, SettingsError } from "./config/Settings.ts"
import { noModelLeadsThere, unreached } from "./config/UpstreamSettings.ts"
import { ListeningCertificate } from "./downstream/http/Listener.ts"
import { checkCredentialFiles } from "./upstream/credential/CheckFiles.ts"
import { Upstreams } from "./upstream/route/Upstreams.ts"

export class Reload extends Context.Service<Reload, { readonly now: Effect.Effect<void> }>()("respool/Reload") {
  /** Needs the `Upstreams` of the running proxy, and its `ListeningCertificate` where it has one to follow. */
  static readonly layer = Layer.effect(
    Reload,
    Effect.suspend(() => make),
  )
}

const shown = (value: unknown) => JSON.stringify(Redacted.isRedacted(value) ? Redacted.value(value) : value)

/** Files of the certificate to listen with. Where the proxy listens over TLS, another pair holds at once. */
const ofListener = ["listenTlsCert", "listenTlsKey"] as const

/** The settings that changed and hold from the next start on: all but those of upstreams. */
const waiting = (started: SettingsValues, read: SettingsValues, listens: boolean): ReadonlyArray<string> =>
  (Object.keys(rows) as ReadonlyArray<keyof typeof rows>).filter(
    (name) =>
      !areOfUpstreams.has(name) &&
      !(listens && ofListener.some((other) => other === name)) &&
      shown(started[name]) !== shown(read[name]),
  )

const make = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  // A reload has the context of this layer (file system, loggers), not that of the fiber that calls `now`.
  const context = yield* Effect.context<FileSystem.FileSystem>()
  const started = yield* Settings
  const upstreams = yield* Upstreams
  const path = yield* Settings.path
  const listener = Option.getOrUndefined(yield* Effect.serviceOption(ListeningCertificate))
  const oneAtATime = Semaphore.makeUnsafe(1)

  let listenTls = started.listenTls
  let certificates = ofListener.map((name) => started[name])
  const stampOf = (path: string) => Effect.map(lookAt(fs, path), (look) => look.stamp)
  const stamps = Effect.suspend(() =>
    Effect.forEach([path, ...certificates.filter((path) => path !== undefined)], stampOf),
  )
  let seen = (yield* stamps).join("\n")
  const stamp = Effect.map(stamps, (all) => all.join("\n"))
  let wasThere = (yield* stampOf(path)) !== gone.stamp

  /** Whether the listener shows another certificate now. Whether it listens over TLS at all is for the next start. */
  const takeCertificate = Effect.fnUntraced(function* (read: SettingsValues) {
    const { listenTls: next } = read
    if (listener === undefined || listenTls === undefined || next === undefined) return false
    certificates = ofListener.map((name) => read[name])
    if (next.cert === listenTls.cert && next.key === listenTls.key) return false
    yield* Effect.mapError(
      listener.replace(next),
      ({ message }) => new SettingsError({ message: `${read.listenTlsCert} and ${read.listenTlsKey}: ${message}` }),
    )
    listenTls = next
    return true
  })

  const reload = Effect.gen(function* () {
    seen = yield* stamp
    const isThere = (yield* stampOf(path)) !== gone.stamp
    // Without the file all turns would go to the default upstream, with credentials that callers brought for others.
    if (wasThere && !isThere) return yield* new SettingsError({ message: `${path} is gone` })
    const read = yield* Settings.readWhile(started)
    yield* checkCredentialFiles(read, upstreams.all())
    // The file changed while it was read, so the next look reads it again.
    if ((yield* stamp) !== seen) return void (seen = "")
    wasThere = isThere
    const renewed = yield* takeCertificate(read)
    const { gone: left, kept, made } = upstreams.replace(read.upstreams)
    const later = waiting(started, read, listenTls !== undefined && read.listenTls !== undefined)
    yield* Effect.logInfo("settings were read again").pipe(
      Effect.annotateLogs({
        unchanged: kept.join(" "),
        ...(made.length === 0 ? {} : { changed: made.join(" ") }),
        ...(left.length === 0 ? {} : { gone: left.join(" ") }),
        ...(renewed ? { listensWith: "another certificate" } : {}),
        ...(later.length === 0 ? {} : { fromTheNextStart: later.join(" ") }),
      }),
    )
    const idle = unreached(read.upstreams)
    if (idle.length > 0) {
      yield* Effect.annotateLogs(Effect.logWarning(noModelLeadsThere), { upstreams: idle.join(" ") })
    }
  }).pipe(
    Effect.catchTag("SettingsError", ({ message }) =>
      Effect.logError("settings were not read again: those before stay in force").pipe(
        Effect.annotateLogs({ error: message }),
      ),
    ),
    Effect.provideContext(context),
    Semaphore.withPermit(oneAtATime),
  )

  yield* Effect.flatMap(stamp, (current) => (current === seen ? Effect.void : reload)).pipe(
    Effect.schedule(Schedule.spaced(lookEvery)),
    Effect.forkScoped,
  )
  return Reload.of({ now: reload })
})
