/**
 * Finds the ids of the upstream account in requests and answers: those that a request uses or an answer made.
 *
 * Pure functions over parsed JSON. They read only values of the right shape, and leave others to the upstream.
 */
import { Predicate } from "effect"

export interface IdAt {
  readonly id: string
  /** The top-level member it stands in, as the API's errors name it. */
  readonly param: string
}

export interface ReferencedIds {
  /** Ids that the request asks the upstream to continue or to fetch. */
  readonly references: ReadonlyArray<IdAt>
  /** All other ids that the upstream may look up: those of full items, containers, files, approvals, … */
  readonly mentions: ReadonlyArray<IdAt>
}

const asList = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [value])

const isId = (value: unknown): value is string => typeof value === "string" && value !== ""

/** The id in `"id"` or `{"id": "id"}`, which mean the same. */
const valueOrId = (value: unknown): unknown => (Predicate.isObject(value) ? value["id"] : value)

/** Whether the API's requests hold ids under a name: `id`, `container`, `file_id`, `vector_store_ids`, … */
const holdsIds = (name: string) =>
  name === "id" || name === "container" || name.endsWith("_id") || name.endsWith("_ids")

/** The ids anywhere in a value. It does not recurse, since a client may nest a body very deep. */
const mentionedIn = (value: unknown): ReadonlySet<string> => {
  const ids = new Set<string>()
  const stack = [value]
  while (stack.length > 0) {
    const next = stack.pop()
    if (Array.isArray(next)) {
      for (const element of next) stack.push(element)
    } else if (Predicate.isObject(next)) {
      for (const [name, member] of Object.entries(next)) {
        if (holdsIds(name)) for (const id of asList(member)) if (isId(id)) ids.add(id)
        if (typeof member === "object") stack.push(member)
      }
    }
  }
  return ids
}

/** The id of an item that is only a reference. Its `type` may be missing or null (docs/protocol.md 7.1). */
const referenceOf = (item: unknown): string | undefined => {
  if (!Predicate.isObject(item) || !isId(item["id"])) return undefined
  const isAbsent = (name: string) => Predicate.isNullish(item[name])
  const isReference = item["type"] === "item_reference" || ["type", "role", "content"].every(isAbsent)
  return isReference ? item["id"] : undefined
}

// The upstream reads these as free text, so what looks like an id in them is none.
const freeText: ReadonlySet<string> = new Set(["metadata", "client_metadata"])

/** The ids of one request, given as the parsed body or only those of its top-level members that can hold ids. */
export const referencedIds = (request: unknown): ReferencedIds => {
  const references: Array<IdAt> = []
  const mentions: Array<IdAt> = []
  if (!Predicate.isObject(request)) return { references, mentions }
  const mention = (value: unknown, param: string, except?: string) => {
    for (const id of mentionedIn(value)) if (id !== except) mentions.push({ id, param })
  }
  for (const [param, value] of Object.entries(request)) {
    if (param === "previous_response_id" || param === "response_id" || param === "conversation") {
      // In any shape: an upstream that unwraps more shapes than this check would let another tenant in.
      for (const id of mentionedIn({ id: value })) references.push({ id, param })
    } else if (param === "input") {
      for (const item of asList(value)) {
        const id = referenceOf(item)
        if (id !== undefined) references.push({ id, param })
        mention(item, param, id)
      }
    } else if (!freeText.has(param)) {
      mention({ [param]: value }, param)
    }
  }
  return { references, mentions }
}

/** The ids that the upstream made for an item: the item's, and those of its code's container and the files there. */
const idsOfItem = (item: { readonly [name: PropertyKey]: unknown }): ReadonlyArray<unknown> => {
  const ids = [item["id"], item["container_id"]]
  if (Predicate.isObject(item["environment"])) ids.push(item["environment"]["container_id"])
  for (const part of asList(item["content"])) {
    if (!Predicate.isObject(part)) continue
    for (const annotation of asList(part["annotations"])) {
      if (!Predicate.isObject(annotation) || annotation["type"] !== "container_file_citation") continue
      ids.push(annotation["container_id"], annotation["file_id"])
    }
  }
  return ids
}

/**
 * Whether a compaction made this item; it also repeats its request's messages, with their ids (docs/protocol.md 1.6).
 */
const isCompaction = (item: { readonly [name: PropertyKey]: unknown }) =>
  typeof item["type"] === "string" && item["type"].startsWith("compaction")

/**
 * The ids that an answer made: of a response (or a conversation, or a compaction), its output items and conversation,
 * and of the containers that its tools ran in with the files they left there. Takes the object, one item, or a list of
 * items.
 *
 * Ids that an answer repeats of its request (`previous_response_id`, `tools`, `metadata`, a compaction's messages, …),
 * that a tool printed, or of files that it cites were not made by it: to record those would give one tenant's ids to
 * another.
 */
export const idsOf = (responseOrItems: unknown): ReadonlyArray<string> => {
  const ids: Array<unknown> = []
  for (const value of asList(responseOrItems)) {
    if (!Predicate.isObject(value)) continue
    // Items have a `type`, and the API's top-level objects never have one.
    if (typeof value["type"] === "string") {
      ids.push(...idsOfItem(value))
    } else {
      ids.push(value["id"], valueOrId(value["conversation"]))
      const isMade = value["object"] === "response.compaction" ? isCompaction : Predicate.isObject
      for (const item of asList(value["output"])) {
        if (Predicate.isObject(item) && isMade(item)) ids.push(...idsOfItem(item))
      }
    }
  }
  return [...new Set(ids.filter(isId))]
}
