/**
 * Makes a turn of a request's bytes: the step that every front takes once it knows the caller and has the bytes.
 *
 * It does not know by which front they came. It refuses only what can't be carried, and ids that the caller may not
 * use; the upstream judges everything else.
 */
import { Context, Effect, Layer, Result } from "effect"
import { randomUUID } from "node:crypto"
import { Settings } from "../config/Settings.ts"
import type { Caller } from "../turn/Caller.ts"
import { monotonicMillis } from "../turn/Elapsed.ts"
import type { Session as TurnSession, TurnRequest } from "../turn/Executor.ts"
import { BodyHeads } from "../turn/memory/BodyHeads.ts"
import { inSlices } from "../turn/Slices.ts"
import type { WireError } from "../wire/RequestBody.ts"
import { readMember } from "../wire/RequestBody.ts"
import { ApiError } from "./ApiError.ts"
import { tooMuch } from "./Admission.ts"
import { requestId } from "./RequestId.ts"
import type { RequestHeaders } from "./Session.ts"
import { Session, sessionKey } from "./Session.ts"
import { unsendable } from "./Sendable.ts"
import { tenantView } from "./tenants/Account.ts"
import { namespaced } from "./tenants/Namespace.ts"
import { Ownership } from "./tenants/Ownership.ts"
import { recordEvents, tenantHeaders } from "./tenants/Tenant.ts"

export interface Incoming {
  readonly caller: Caller
  /** The client's headers, names in lower case. */
  readonly headers: RequestHeaders
  /** The query of the client's URL, with its `?`. Default: none. */
  readonly query?: string
  /** The request's JSON, decoded. The bytes are not copied, so the front must not change them. */
  readonly bytes: Uint8Array
  /** Whether the client reads events as they come. Default: what the body's `stream` says. */
  readonly stream?: boolean
  /** When the request came in, as `monotonicMillis` has it. Default: now. */
  readonly startedAt?: number
  /** The client's address, for the log. Default: it is not known. */
  readonly client?: string | undefined
  /** Told how many bytes the request holds now, its body's among them; false: there is no room. Default: there always is. */
  readonly holds?: (bytes: number) => boolean
}

/** What tells where an item of the input lies takes so many bytes in memory, as long as the turn goes on. */
const spanSize = 48

export class Intake extends Context.Service<
  Intake,
  {
    /** Fails with the answer for a request that can't be carried, or that uses an id of another caller. */
    readonly read: (incoming: Incoming) => Effect.Effect<TurnRequest, ApiError>
  }
>()("respool/downstream/Intake") {
  static readonly layerNoDeps = Layer.effect(
    Intake,
    Effect.suspend(() => make),
  )
}

const make = Effect.gen(function* () {
  const { namespaceTenants } = yield* Settings
  const sessions = yield* Session
  const ownership = yield* Ownership
  const heads = yield* BodyHeads

  /** The group in which the body's head is looked for. Only the headers name it, since the body is not read yet. */
  const groupOf = ({ caller: { scope, tenant }, headers }: Incoming): string | undefined => {
    // A tenant's body is read whole anyway, in search of ids of other tenants.
    if (scope === undefined || tenant) return undefined
    const name = sessions.name(headers, undefined)
    return name === undefined ? scope : sessionKey(scope, name)
  }

  const sessionOf = (
    scope: string | undefined,
    headers: RequestHeaders,
    cacheKey: unknown,
  ): TurnSession | undefined => {
    const name = sessions.name(headers, typeof cacheKey === "string" ? cacheKey : undefined)
    return name === undefined || scope === undefined ? undefined : { key: sessionKey(scope, name), name }
  }

  const read = Effect.fnUntraced(function* (incoming: Incoming): Effect.fn.Return<TurnRequest, ApiError> {
    const { bytes, caller, headers, query = "" } = incoming
    const refused = unsendable(headers, query)
    if (refused !== undefined) return yield* refused
    const parsed = yield* inSlices(heads.read(groupOf(incoming), bytes))
    if (Result.isFailure(parsed)) return yield* unreadable(parsed.failure)
    const given = parsed.success
    const tenant = caller.tenant ? caller.scope : undefined
    if (tenant !== undefined) yield* ownership.check(tenant, { body: given, query, headers })
    const body = tenant === undefined || namespaceTenants === "off" ? given : yield* inSlices(namespaced(tenant, given))
    const turnId = `req_${randomUUID().replaceAll("-", "")}`
    const { holds } = incoming
    const held = body.bytes.length + (body.items?.length ?? 0) * spanSize
    if (holds?.(held) === false) return yield* tooMuch
    const turn: TurnRequest = {
      ...(holds === undefined ? {} : { holds: (more) => holds(held + more) }),
      turnId,
      id: requestId(headers) ?? turnId,
      startedAt: incoming.startedAt ?? (yield* monotonicMillis),
      body,
      query,
      stream: incoming.stream ?? readMember(given, "stream") === true,
      caller,
      session: sessionOf(caller.scope, headers, readMember(given, "prompt_cache_key")),
      headers: caller.tenant ? tenantHeaders(headers) : headers,
      ...(incoming.client === undefined ? {} : { client: incoming.client }),
    }
    return tenant === undefined ? turn : { ...turn, observe: recordEvents(ownership, tenant), view: tenantView }
  })

  return Intake.of({ read })
})

const unreadable = ({ member, message, reason }: WireError) =>
  ApiError.badRequest(reason === "not_json" ? "invalid_json" : reason, message, member ?? null)
