/**
 * The command `keys`: makes the keys that the proxy gives out, lists them, and takes them out again.
 */
import { Console, Effect, Option, Redacted } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Settings } from "../config/Settings.ts"
import { addKey, readKeys, removeKeys } from "../downstream/auth/KeysFile.ts"

const add = Command.make(
  "add",
  {
    name: Argument.String("name").pipe(Argument.withDescription("for people and logs; no two keys have one")),
    user: Flag.String("user").pipe(
      Flag.withDescription("the user that the key is for; a user's keys share sessions"),
      Flag.optional,
    ),
  },
  Effect.fnUntraced(function* ({ name, user }) {
    const { keysFile } = yield* Settings
    const { record, secret } = yield* addKey({ path: keysFile, name, user: Option.getOrUndefined(user) })
    yield* Console.error(`Key ${record.id} is in ${keysFile}. It is shown this once:`)
    yield* Console.log(Redacted.value(secret))
  }, Effect.provide(Settings.layerConfigUnchecked)),
).pipe(Command.withDescription("Make a key for RESPOOL_AUTH=keys, print it once and store its hash."))

const list = Command.make(
  "list",
  { json: Flag.Boolean("json").pipe(Flag.withDescription("print one JSON array"), Flag.withDefault(false)) },
  Effect.fnUntraced(function* ({ json }) {
    const { keysFile } = yield* Settings
    const keys = yield* readKeys(keysFile)
    // The hashes stay in the file.
    const shown = keys.map(({ createdAt, id, name, user }) => ({ id, name, user, createdAt }))
    if (json) return yield* Console.log(JSON.stringify(shown))
    for (const { createdAt, id, name, user } of shown) {
      yield* Console.log(`${id}  ${createdAt}  ${name}${user === undefined ? "" : `  (of ${user})`}`)
    }
  }, Effect.provide(Settings.layerConfigUnchecked)),
).pipe(
  Command.withDescription("List the keys: id, when it was made, name and user. No secret is kept that could be shown."),
)

const remove = Command.make(
  "remove",
  { key: Argument.String("key").pipe(Argument.withDescription("its name or its id")) },
  Effect.fnUntraced(function* ({ key }) {
    const { keysFile } = yield* Settings
    for (const { id, name } of yield* removeKeys(keysFile, key)) {
      yield* Console.log(`Key ${id} (${name}) is out of ${keysFile}.`)
    }
  }, Effect.provide(Settings.layerConfigUnchecked)),
).pipe(Command.withDescription("Take a key out: a running proxy refuses it within three seconds."))

export const keys = Command.make("keys").pipe(
  Command.withDescription("The keys that the proxy gives out."),
  Command.withSubcommands([add, list, remove]),
)
