/**
 * Where in a request ids stand, and what the upstream makes of them there (docs/operate.md, Who is asking).
 *
 * Names are compared without case, `_` and `-`, since an upstream may read them more loosely than the API does.
 */
import { ruleOf } from "../../wire/ItemRules.ts"

/** Names that are kept, so that a body full of others takes no memory for good. */
const maxKnown = 4096

const known = new Map<string, string>()

/** `file_id`, `fileId` and `FILE-ID` are `fileid`. */
export const canonicalName = (name: string): string => {
  const before = known.get(name)
  if (before !== undefined) return before
  const made = name.replaceAll(/[_-]/g, "").toLowerCase()
  if (known.size < maxKnown && name.length <= 48) known.set(name, made)
  return made
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "))

/** Under these the upstream fetches what an id names, so a caller needs to have a right to it. */
const fetching = words(
  "previousresponseid responseid responseids conversation conversationid conversations container containers " +
    "containerid containerids fileid fileids vectorstore vectorstores vectorstoreid vectorstoreids promptid skillid " +
    "skillids approvalrequestid forkfrom forkedfrom batchid uploadid itemid itemids",
)

export const isFetching = (name: string): boolean => fetching.has(name)

/** In an object under a name that fetches, the id itself. */
export const isIdItself = (name: string): boolean => name === "id" || name === "ids"

/**
 * What a model reads, or the tools of others: an id in it is no request to fetch anything. One of another tenant is
 * refused here all the same.
 */
const free = words(
  "metadata clientmetadata annotations results headers parameters inputschema outputschema schema filters " +
    "attributes userlocation arguments",
)

export const isFree = (name: string): boolean => free.has(name)

/**
 * Words that go to the model as they are, or that it wrote: here an id of another tenant is a mention. To refuse it
 * would let whoever gets an id of its own into what a tool prints end the conversation that reads it.
 */
const wording = words(
  "text content instructions output refusal encryptedcontent code logs stdout stderr query queries description diff " +
    "patch command commands filedata result title quote reason summary partialimageb64 obfuscation",
)

export const isWording = (name: string): boolean => wording.has(name)

/** Words too, unless they are JSON, of which an upstream could make values. */
export const mayBeJson = (name: string): boolean => name === "arguments" || name === "input"

/** A value that is an id of something that an account keeps, whatever name it stands under. */
export const isOfAccount = (value: string): boolean =>
  /^(?:resp|conv|cntr|cfile|file|vs|pmpt|batch|skill|upload|asst|thread)[_-][A-Za-z0-9]{16,}$/.test(value)

/** Names under which clients put texts of their own, whatever these look like. */
const own = words("promptcachekey user safetyidentifier model name filename callid key value type")

export const isOwnText = (name: string): boolean => own.has(name)

/** What is seen of an input item on the way through it. */
export interface ItemSeen {
  id: string | undefined
  type: string | undefined
  /** Which of these members it has, neither null nor empty. */
  role: boolean
  content: boolean
  encrypted_content: boolean
  call_id: boolean
}

export const noItemYet: ItemSeen = {
  id: undefined,
  type: undefined,
  role: false,
  content: false,
  encrypted_content: false,
  call_id: false,
}

/** Items that only requests have, and that hold all there is to them. */
const ofRequests = words("compaction_trigger configuration_update additional_tools")

/**
 * Whether the upstream looks an item up by its id: it is a reference, or it lacks what its type is known by. Then its id
 * must be one that was made for the caller. Else the client may have given the id itself, as Codex does.
 */
export const isFetched = (item: ItemSeen): boolean => {
  const kind = item.type ?? (item.role ? "message" : undefined)
  if (kind !== undefined && ofRequests.has(kind)) return false
  const { named } = ruleOf(kind)
  return named === undefined || !item[named]
}
