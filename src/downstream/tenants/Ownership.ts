/**
 * Knows the owner of each id of a shared upstream account, which is a scope, and refuses it to every other scope.
 *
 * Where many tenants share one upstream account, an id gives access to a tenant's conversation. What was made for one is
 * refused to all others wherever it stands, but in words for the model. Where the upstream fetches something by an id,
 * the id must have been made for the caller, or be named by the operator as shared: an id that nobody has a record of
 * may have been another's. An id of another scope and an id that does not exist get the same answer: the API's 404
 * (docs/operate.md, Who is asking).
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { KeyValueStore } from "effect/persistence"
import { inSlices } from "../../turn/Slices.ts"
import type { RequestBody } from "../../wire/RequestBody.ts"
import { ApiError, shortened } from "../ApiError.ts"
import { foreignIn } from "./IdTexts.ts"
import type { LedgerOptions, Row } from "./Ledger.ts"
import { Ledger } from "./Ledger.ts"
import type { Finding, Rights } from "./UsedIds.ts"
import { findIn } from "./UsedIds.ts"

interface OwnedId {
  readonly id: string
  readonly scope: string
}

type AskOwners = (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<OwnedId>>

export interface OwnershipOptions extends LedgerOptions {
  /**
   * Asks others whose ids these are, of which there is no record here. Those that nobody knows, or can be asked about,
   * are left out. Default: there is nobody else.
   */
  readonly ask?: AskOwners | undefined
  /** Is given what answers others: whose ids these are, of those that there is a record of here. */
  readonly answer?: ((recorded: (ids: ReadonlyArray<string>) => ReadonlyArray<OwnedId>) => void) | undefined
  /** Ids that every scope may use; a `*` at the end stands for any rest. Default: none. */
  readonly shared?: ReadonlyArray<string>
}

/** What a request sends upstream besides its credential. */
export interface Sent {
  readonly body?: RequestBody
  /** As the client sent it, with its `?`. */
  readonly query?: string
  readonly headers?: Readonly<Record<string, string | undefined>>
}

const notFound = (what: string, id: string, param: string | null, code?: string) =>
  new ApiError({
    status: 404,
    message: `${what} with id '${shortened(id)}' not found.`,
    type: "invalid_request_error",
    code: code ?? null,
    param,
  })

const ofTool = (id: string) => (id.startsWith("vs_") ? "Vector store" : /^file[-_]/.test(id) ? "File" : "Container")

const refused = (found: Finding): ApiError => {
  const { param } = found
  if (found._tag === "Duplicate") {
    const message = `A member appears twice inside ${JSON.stringify(shortened(param))}.`
    return ApiError.badRequest("duplicate_member", message, param)
  }
  switch (param) {
    case "previous_response_id":
      return notFound("Previous response", found.id, param, "previous_response_not_found")
    case "conversation":
      return notFound("Conversation", found.id, param)
    case "response_id":
      return notFound("Response", found.id, param)
    case "prompt":
      return notFound("Prompt", found.id, param)
    case "tools":
      return notFound(ofTool(found.id), found.id, param)
    default:
      return notFound("Item", found.id, param)
  }
}

/** Whether an id is one of a list, in which a `*` at the end stands for any rest. */
const memberOf = (list: ReadonlyArray<string>) => {
  const whole = new Set(list.filter((entry) => !entry.endsWith("*")))
  const beginnings = list.filter((entry) => entry.endsWith("*")).map((entry) => entry.slice(0, -1))
  return (id: string) => whole.has(id) || beginnings.some((beginning) => id.startsWith(beginning))
}

/** How an id of an API looks: in a text, only such words are asked about. */
const likeAnId = /^[a-z][a-z0-9]*[_-][\w-]{6,}$/i

/** About so many ids of one request others are asked; one that names more gets no right by what they know. */
const maxAsked = 2048

const serve = (
  ledger: Ledger,
  changed: (row: Row) => void,
  { answer, ask, shared = [] }: OwnershipOptions,
): Ownership["Service"] => {
  answer?.((ids) =>
    ids.flatMap((id) => {
      const scope = ledger.ownerOf(id)
      return scope === undefined ? [] : [{ id, scope }]
    }),
  )
  const isShared = memberOf(shared)
  const owns = (scope: string, id: string) => ledger.ownerOf(id) === scope
  const ownedByAnother = (scope: string, id: string) => {
    const owner = ledger.ownerOf(id)
    return owner !== undefined && owner !== scope
  }
  const rightsOf = (scope: string): Rights => ({
    mayUse: (id) => {
      const owner = ledger.ownerOf(id)
      return owner === undefined ? isShared(id) : owner === scope
    },
    isForeign: (id) => ownedByAnother(scope, id),
    // Of ids that other nodes recorded it is not known how they look.
    hasOdd: ledger.hasOdd || ask !== undefined,
  })

  /** The same, noting what is not known here, as if it could be used. */
  const noting = (scope: string, unknown: Set<string>): Rights => {
    const rights = rightsOf(scope)
    const isUnknown = (id: string, isNoted: boolean) => {
      if (ledger.ownerOf(id) !== undefined || isShared(id)) return false
      if (isNoted && unknown.size < maxAsked) unknown.add(id)
      return true
    }
    return {
      mayUse: (id) => isUnknown(id, true) || rights.mayUse(id),
      isForeign: (id) => !isUnknown(id, likeAnId.test(id)) && rights.isForeign(id),
      hasOdd: rights.hasOdd,
    }
  }

  const learn = (ask: AskOwners, unknown: ReadonlySet<string>) =>
    Effect.map(ask([...unknown]), (rows) => {
      const at = ledger.now()
      // What another node keeps is not written here, too.
      for (const { id, scope } of rows) if (unknown.has(id)) ledger.add({ scope, id, at })
    })

  const search = Effect.fnUntraced(function* (rights: Rights, { body, headers = {}, query = "" }: Sent) {
    for (const [param, text] of [["query", query], ...Object.entries(headers)] as const) {
      const id = param === "authorization" ? undefined : foreignIn(text ?? "", rights.hasOdd, rights.isForeign)
      if (id !== undefined) return yield* notFound("Item", id, null)
    }
    if (body === undefined) return
    const found = yield* inSlices(findIn(body, rights))
    if (found !== undefined) return yield* refused(found)
  })

  return Ownership.of({
    owns,
    ownedByAnother,
    record: (scope, ids) => {
      const at = ledger.now()
      for (const id of ids) {
        const row = { scope, id, at }
        if (!isShared(id) && ledger.add(row)) changed(row)
      }
    },
    check: Effect.fnUntraced(function* (scope, sent) {
      if (ask !== undefined) {
        const unknown = new Set<string>()
        yield* search(noting(scope, unknown), sent)
        if (unknown.size === 0) return
        yield* learn(ask, unknown)
      }
      yield* search(rightsOf(scope), sent)
    }),
    checkResponseId: Effect.fnUntraced(function* (scope, id) {
      if (ask !== undefined && ledger.ownerOf(id) === undefined) yield* learn(ask, new Set([id]))
      if (!owns(scope, id)) return yield* notFound("Response", id, null)
    }),
  })
}

/** Its checks are effects, so that a database can stand behind them. */
export class Ownership extends Context.Service<
  Ownership,
  {
    /** Records ids that an answer to this scope made (`idsOf`). Synchronous: done before an event goes out. */
    readonly record: (scope: string, ids: Iterable<string>) => void
    readonly owns: (scope: string, id: string) => boolean
    readonly ownedByAnother: (scope: string, id: string) => boolean
    /**
     * Fails with the answer for a request that uses an id it must not use, or whose body has a member twice anywhere,
     * since it is not known which of the two the upstream reads. Large bodies are read in slices.
     */
    readonly check: (scope: string, sent: Sent) => Effect.Effect<void, ApiError>
    /** Does the same for the id of a response in a path. */
    readonly checkResponseId: (scope: string, id: string) => Effect.Effect<void, ApiError>
  }
>()("respool/downstream/Ownership") {
  /** Keeps rows over a restart: written once a second and at the layer's end. Fails if the store cannot be listed. */
  static readonly layer = (
    options: OwnershipOptions = {},
  ): Layer.Layer<Ownership, KeyValueStore.KeyValueStoreError, KeyValueStore.KeyValueStore> =>
    Layer.effect(
      Ownership,
      Effect.gen(function* () {
        const ledger = new Ledger(yield* Clock.Clock, options)
        // Loaded here, since effect's stores, SQL among them, come with it, and most programs keep no rows.
        const { keepRows } = yield* Effect.promise(() => import("./IdStore.ts"))
        return serve(ledger, yield* keepRows(ledger), options)
      }),
    )

  /** Keeps rows in memory only. */
  static readonly layerMemory = (options: OwnershipOptions = {}): Layer.Layer<Ownership> =>
    Layer.effect(
      Ownership,
      Effect.map(Clock.Clock, (clock) => serve(new Ledger(clock, options), () => {}, options)),
    )

  /** Records nothing and allows everything: every caller has a separate upstream account. */
  static readonly layerOff: Layer.Layer<Ownership> = Layer.succeed(Ownership, {
    record: () => {},
    owns: () => true,
    ownedByAnother: () => false,
    check: () => Effect.void,
    checkResponseId: () => Effect.void,
  })
}
