/**
 * Turns as the handlers would ask for them, for tests that call an executor directly.
 */
import { Result } from "effect"
import { callerCredential } from "../../src/turn/Caller.ts"
import type { TurnRequest } from "../../src/turn/Executor.ts"
import { parseRequestBody } from "../../src/wire/RequestBody.ts"
import { utf8 } from "./Bytes.ts"

/** A streamed turn of one caller without a session; `change` says what is different. */
export const turnOf = (body: object, change: Partial<TurnRequest> = {}): TurnRequest => ({
  turnId: "turn",
  id: "req",
  startedAt: 0,
  body: Result.getOrThrow(parseRequestBody(utf8(JSON.stringify(body)))),
  stream: true,
  query: "",
  caller: { scope: "scope", label: "scope", credential: callerCredential("Bearer test-key-a", "id"), tenant: false },
  session: undefined,
  headers: {},
  ...change,
})
