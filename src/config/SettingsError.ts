/**
 * What a setting that can't be used fails with.
 */
import { Schema } from "effect"

/** A setting that can't be used. `message` is the one line to show. */
export class SettingsError extends Schema.TaggedError<SettingsError>()("SettingsError", { message: Schema.String }) {}
