/**
 * What the client of a test asks its proxy for.
 */
import { Effect } from "effect"
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import type { Asked } from "./Ask.ts"
import { ask } from "./Ask.ts"
import { TestProxy } from "./TestProxy.ts"

export interface AskedProxy extends Omit<Asked, "body" | "method"> {
  readonly path?: string
}

/** A turn, or what else is posted to a `path`; with a key and a model unless told otherwise. A string is sent as it is. */
export const post = (body: JsonObject | string, { path = "/responses", ...asked }: AskedProxy = {}) =>
  Effect.flatMap(TestProxy, ({ url }) =>
    ask(`${url}${path}`, {
      key: "test-key-a",
      ...asked,
      body: typeof body === "string" ? body : { model: "gpt-5.5", ...body },
    }),
  )

/** What stands at a path. */
export const get = (path: string, asked: Omit<Asked, "body"> = {}) =>
  Effect.flatMap(TestProxy, ({ url }) => ask(`${url}${path}`, { key: "test-key-a", ...asked }))
