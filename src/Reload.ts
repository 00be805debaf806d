/**
 * Follows `respool.json`: changes to upstreams hold from the next turn on, without a restart.
 *
 * - An upstream that did not change keeps its connections. Of a changed one the idle connections go at once, and those
 *   in use when their turn is over.
 * - A file that can't be used, or is gone, changes nothing; one line in the log says why. Nor can a file be used that
 *   would be safe only together with the other settings that it changes.
 * - Other settings, and those of the environment, hold from the next start on; the log names those that changed.
 *
 * The file is looked at every second. `now` reads it even if it did not change, with the key and certificate files that
 * it names; the command line calls it at SIGHUP. `Keys` follows the keys file, and `Credentials` follows tokens.
 */
import { Context, Effect, FileSystem, Layer, Redacted, Schedule, Semaphore } from "effect"
import { gone, lookAt, lookEvery } from "./config/Files.ts"
import type { SettingsValues } from "./config/Settings.ts"
import { areOfUpstreams } from "./config/SettingRows.ts"
import { rows, Settings, SettingsError } from "./config/Settings.ts"
import { checkCredentialFiles } from "./upstream/credential/CheckFiles.ts"
import { Upstreams } from "./upstream/route/Upstreams.ts"

export class Reload extends Context.Service<Reload, { readonly now: Effect.Effect<void> }>()("respool/Reload") {
  /** Needs the `Upstreams` of the running proxy. */
  static readonly layer = Layer.effect(
    Reload,
    Effect.suspend(() => make),
  )
}

const shown = (value: unknown) => JSON.stringify(Redacted.isRedacted(value) ? Redacted.value(value) : value)

/** The settings that changed and hold from the next start on: all but those of upstreams. */
const waiting = (started: SettingsValues, read: SettingsValues): ReadonlyArray<string> =>
  (Object.keys(rows) as ReadonlyArray<keyof typeof rows>).filter(
    (name) => !areOfUpstreams.has(name) && shown(started[name]) !== shown(read[name]),
  )

const make = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  // A reload has the context of this layer (file system, loggers), not that of the fiber that calls `now`.
  const context = yield* Effect.context<FileSystem.FileSystem>()
  const started = yield* Settings
  const upstreams = yield* Upstreams
  const path = yield* Settings.path
  const oneAtATime = Semaphore.makeUnsafe(1)

  const stamp = Effect.map(lookAt(fs, path), (look) => look.stamp)
  let seen = yield* stamp
  let wasThere = seen !== gone.stamp

  const reload = Effect.gen(function* () {
    seen = yield* stamp
    // Without the file all turns would go to the default upstream, with credentials that callers brought for others.
    if (wasThere && seen === gone.stamp) return yield* new SettingsError({ message: `${path} is gone` })
    const read = yield* Settings.readWhile(started)
    yield* checkCredentialFiles(read, upstreams.all())
    // The file changed while it was read, so the next look reads it again.
    if ((yield* stamp) !== seen) return void (seen = "")
    wasThere = seen !== gone.stamp
    const { gone: left, kept, made } = upstreams.replace(read.upstreams)
    const later = waiting(started, read)
    yield* Effect.logInfo("settings were read again").pipe(
      Effect.annotateLogs({
        unchanged: kept.join(" "),
        ...(made.length === 0 ? {} : { changed: made.join(" ") }),
        ...(left.length === 0 ? {} : { gone: left.join(" ") }),
        ...(later.length === 0 ? {} : { fromTheNextStart: later.join(" ") }),
      }),
    )
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
