/**
 * Which members of an item say nothing, by the item's type, and why.
 *
 * A member that is null is as good as missing, in the item itself and in what its type declares (the parts of a message, a
 * call's `action`), and nowhere else: inside of values that are data, as in a tool's schema, null is a value. What is
 * listed nowhere counts as it is written, so an item type of next year is equal only to its very self.
 */
import type { MemberFilter } from "./Canonical.ts"
import { byteAt, decodeString } from "./JsonString.ts"

export interface ItemRule {
  /** The member beside which `id` says nothing. Undefined: `id` always counts. */
  readonly named: "call_id" | "content" | "encrypted_content" | undefined
  /** Whether `completed` says no more than a missing status. Any other status always counts. */
  readonly status: "completed is silent" | "counts"
  /** The member whose own members the API declares, so that a null one is a missing one. */
  readonly declared?: "action"
  readonly why: string
}

const named = (by: ItemRule["named"], why: string): ItemRule => ({ named: by, status: "completed is silent", why })

const byCall = named("call_id", "its call_id names it, and clients leave the id out or give it one of their own")
const hydrates = named(undefined, "by its id the upstream finds what the tool did, which the item may not hold")

const itemRules: Readonly<Record<string, ItemRule>> = {
  message: named("content", "clients leave the id out; without its content the upstream looks the message up by it"),
  reasoning: named("encrypted_content", "what is encrypted is all of it; else the upstream looks it up by its id"),
  compaction: named("encrypted_content", "what is encrypted is all of it; else the upstream looks it up by its id"),
  function_call: byCall,
  function_call_output: byCall,
  custom_tool_call: byCall,
  custom_tool_call_output: byCall,
  computer_call: { ...byCall, declared: "action" },
  computer_call_output: byCall,
  shell_call: { ...byCall, declared: "action" },
  shell_call_output: byCall,
  apply_patch_call: byCall,
  apply_patch_call_output: { named: "call_id", status: "counts", why: "the status says whether the patch was applied" },
  local_shell_call: { ...named(undefined, "its output may name it by its id"), declared: "action" },
  local_shell_call_output: named("call_id", "without a call_id its id is that of the call it belongs to"),
  web_search_call: { ...hydrates, declared: "action" },
  file_search_call: hydrates,
  image_generation_call: hydrates,
  code_interpreter_call: hydrates,
  mcp_call: hydrates,
  mcp_list_tools: hydrates,
  mcp_approval_request: named(undefined, "the answer to it names it by its id"),
}

const anyOther: ItemRule = { named: undefined, status: "counts", why: "what its members mean is not known" }

/** Of an item of this type, which may be missing or unknown. */
export const ruleOf = (type: string | undefined): ItemRule =>
  (type !== undefined && Object.hasOwn(itemRules, type) ? itemRules[type] : undefined) ?? anyOther

const roles: ReadonlySet<string | undefined> = new Set(["user", "assistant", "system", "developer"])

/**
 * What people are told of an item of this type: its type, and of a message the role (`user_message`). `item` is one of a
 * type that is not known here, since a client may write anything there.
 */
export const nameOf = (type?: string, role?: string): string => {
  if (type === undefined || !Object.hasOwn(itemRules, type)) return "item"
  return type === "message" && roles.has(role) ? `${role}_message` : type
}

/** Item types that only a model or a hosted tool writes (docs/protocol.md 7.1). */
export const isModelType = (type: string) =>
  type.endsWith("_call") ||
  type === "compaction" ||
  type === "mcp_list_tools" ||
  type === "mcp_approval_request" ||
  // One with further members is no plain reference, but still stands for what a model said.
  type === "item_reference"

export const isNull = (bytes: Uint8Array, start: number) => byteAt(bytes, start) === 0x6e
export const isString = (bytes: Uint8Array, start: number) => byteAt(bytes, start) === 0x22
const isList = (bytes: Uint8Array, start: number) => byteAt(bytes, start) === 0x5b

/** All members of a value but those of its own that are null. */
export const notNull: MemberFilter = (depth, _, bytes, start) => depth > 0 || !isNull(bytes, start)

/** The members of a list's elements that are not null, and all that is in them. */
export const notNullInElements: MemberFilter = (depth, _, bytes, start) => depth > 1 || !isNull(bytes, start)

/**
 * The members of an item that count: not those that are read `apart`, nor its id if that is `named` by another member. An id
 * that is no text is for the upstream to refuse, so it counts.
 */
export const itemFilter = (options: {
  readonly idCounts: boolean
  readonly statusCounts: boolean
  readonly apart: ReadonlySet<string>
}): MemberFilter => {
  const { apart, idCounts, statusCounts } = options
  return (depth, key, bytes, start, end) => {
    if (depth > 0) return true
    if (isNull(bytes, start) || apart.has(key)) return false
    switch (key) {
      case "id":
        return idCounts || !isString(bytes, start)
      case "status":
        return statusCounts || !isString(bytes, start) || decodeString(bytes, start, end) !== "completed"
      // What only an upstream writes, and what SDKs and Codex add for themselves.
      case "created_by":
        return !isString(bytes, start)
      case "parsed_arguments":
        return !apart.has("arguments")
      case "internal_chat_message_metadata_passthrough":
        return false
      default:
        return true
    }
  }
}

/** The members that are read apart from the rest, by the sum of what they count in `filterOf`. */
const readApart = [[], ["arguments"], ["action"], ["arguments", "action"]].map((names) => new Set(names))

/** One for each way to read an item: of a call, `apart` is 1 for its `arguments` and 2 for its `action`. */
const callFilters = readApart.flatMap((apart) =>
  [0, 1, 2, 3].map((bits) => itemFilter({ idCounts: (bits & 1) !== 0, statusCounts: (bits & 2) !== 0, apart })),
)

export const callFilter = (idCounts: boolean, statusCounts: boolean, apart: number): MemberFilter =>
  callFilters[apart * 4 + (idCounts ? 1 : 0) + (statusCounts ? 2 : 0)] ?? notNull

/** The members of a part that count, where a model wrote the part: clients lose the others, or an SDK adds them. */
export const modelPart: MemberFilter = (depth, key, bytes, start) => {
  if (depth > 0) return true
  if (isNull(bytes, start) || key === "parsed") return false
  return !((key === "annotations" || key === "logprobs") && isList(bytes, start))
}
