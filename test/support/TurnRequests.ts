/**
 * Turns as the handlers would ask for them, for tests that call an executor directly.
 */
import { Redacted, Result } from "effect"
import type { TurnRequest } from "../../src/turn/Executor.ts"
import { parseRequestBody } from "../../src/wire/RequestBody.ts"

/** A streamed turn of one caller without a session; `change` says what is different. */
export const turnOf = (body: object, change: Partial<TurnRequest> = {}): TurnRequest => ({
  id: "req",
  startedAt: 0,
  body: Result.getOrThrow(parseRequestBody(new TextEncoder().encode(JSON.stringify(body)))),
  stream: true,
  query: "",
  scope: "scope",
  scopeLabel: "scope",
  session: undefined,
  sessionName: undefined,
  credential: Redacted.make("Bearer test-key-a"),
  credentialId: "id",
  headers: {},
  ...change,
})
