/**
 * Finds the ids of the upstream account that an answer made.
 *
 * Pure functions over parsed JSON. They read only values of the right shape, and leave others to the upstream.
 */
import { Predicate } from "effect"

const asList = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [value])

const isId = (value: unknown): value is string => typeof value === "string" && value !== ""

/** The id in `"id"` or `{"id": "id"}`, which mean the same. */
const valueOrId = (value: unknown): unknown => (Predicate.isObject(value) ? value["id"] : value)

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
