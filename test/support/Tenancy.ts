/**
 * Proxies with keys of their own in a folder of their own, so that one can be stopped and another started on its files.
 */
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import type { Scope } from "effect"
import { Context, Effect, FileSystem, Layer, Redacted } from "effect"
import { KeyValueStore } from "effect/persistence"
import { addKey } from "../../src/downstream/auth/KeysFile.ts"
import { Ownership } from "../../src/downstream/tenants/Ownership.ts"
import type { SettingsValues } from "../../src/config/Settings.ts"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { Script } from "../../src/simulator/Script.ts"
import { TestProxy } from "./TestProxy.ts"
import type { Answer } from "./Ask.ts"
import { idOf, outputOf } from "./Ask.ts"

export const upstreamKey = "test-key-upstream"

const platform = Layer.merge(NodeFileSystem.layer, NodePath.layer)

/** A folder with the keys `a` and `b`, and `c` and `d` of one user, for as long as the scope. */
export const makeTenancy = Effect.gen(function* () {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "respool-tenants-" })
  const keysFile = `${folder}/respool.keys.json`
  yield* fs.makeDirectory(`${folder}/respool.ids`, { mode: 0o700 })
  const add = (name: string, user?: string) =>
    Effect.map(addKey({ path: keysFile, name, user }), ({ record, secret }) => ({
      id: record.id,
      secret: Redacted.value(secret),
    }))
  const a = yield* add("a")
  const b = yield* add("b")
  const c = yield* add("c", "team")
  const d = yield* add("d", "team")
  return { folder, keysFile, a, b, c, d }
}).pipe(Effect.provide(platform))

export type Tenancy = Effect.Success<typeof makeTenancy>

/** Takes a key out of the file, as its owner's editor would. */
export const revokeKey = Effect.fnUntraced(function* ({ keysFile }: Tenancy, { id }: Tenancy["a"]) {
  const fs = yield* FileSystem.FileSystem
  const { keys } = JSON.parse(yield* fs.readFileString(keysFile)) as { readonly keys: ReadonlyArray<{ id: string }> }
  yield* fs.writeFileString(keysFile, JSON.stringify({ keys: keys.filter((key) => key.id !== id) }))
}, Effect.provide(platform))

/** Says, before a proxy runs, whose these ids are. */
export const recordIds = ({ folder }: Tenancy, scope: string, ids: ReadonlyArray<string>) =>
  Effect.flatMap(Ownership, (ownership) => Effect.sync(() => ownership.record(scope, ids))).pipe(
    Effect.provide(
      Ownership.layer().pipe(
        Layer.provide(KeyValueStore.layerFileSystem(`${folder}/respool.ids`)),
        Layer.provide(platform),
      ),
    ),
  )

/** A proxy on the tenancy's files for as long as the scope; gives its base URL. */
export const startProxy = (
  { keysFile }: Tenancy,
  upstreamUrl: string,
  settings: Partial<SettingsValues> = {},
): Effect.Effect<TestProxy["Service"], never, Scope.Scope> =>
  Layer.build(
    TestProxy.layerProxy({
      upstreamUrl,
      auth: "keys",
      keysFile,
      upstreamApiKey: Redacted.make(upstreamKey),
      ...settings,
    }),
  ).pipe(
    Effect.map((context) => Context.get(context, TestProxy)),
    Effect.orDie,
  )

/**
 * Answers `Begin.` with every kind of item whose ids matter: reasoning, message, code that ran in a container, and a
 * function call. Everything else with a message, so that no call is left without its output.
 */
export const everyKind: Script = ({ context, index }) => {
  if (context.at(-1)?.["content"] !== "Begin.") return { output: [{ _tag: "Message", text: "Done." }] }
  const item = {
    type: "code_interpreter_call",
    status: "completed",
    code: "1",
    container_id: `cntr_${index}`,
    outputs: null,
  }
  return {
    output: [
      { _tag: "Reasoning", summary: ["Thinking."] },
      { _tag: "Message", text: "Here it is.", phase: "commentary" },
      { _tag: "Item", item },
      { _tag: "FunctionCall", name: "look_up", arguments: { place: "here" } },
    ],
  }
}

export interface Made {
  readonly response: string
  readonly items: ReadonlyArray<JsonObject>
  readonly reasoning: JsonObject
  readonly message: JsonObject
  readonly code: JsonObject
  readonly call: JsonObject
  /** What answers the call. */
  readonly result: JsonObject
}

/** What an answer of `everyKind` made. */
export const madeBy = (answer: Answer): Made => {
  const items = outputOf(answer)
  const [reasoning, message, code, call] = items
  if (reasoning === undefined || message === undefined || code === undefined || call === undefined) {
    throw new Error(`not every kind in ${answer.text}`)
  }
  const result = { type: "function_call_output", call_id: String(call["call_id"]), output: "found" }
  return { response: idOf(answer), items, reasoning, message, code, call, result }
}
