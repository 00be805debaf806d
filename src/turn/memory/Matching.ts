/**
 * The relation between the items that the upstream answered with and the items that a client replays for them.
 *
 * It is a relation between two lists, not a property of one item: a client may leave reasoning out, and may write one
 * message for several text parts or several messages for one. Anything else that is missing, changed or moved is an
 * edit (docs/protocol.md 7.4).
 */
import type { Item, MessageParts } from "../../wire/Item.ts"

/** Whether a client may leave reasoning out of its replay and still be continued. */
export type ReasoningPolicy = "lenient" | "strict"

/** How many items of `replayed`, from index `from`, stand for all of `recorded`; undefined when they don't. */
export const matches = (
  recorded: ReadonlyArray<Item>,
  replayed: ReadonlyArray<Item>,
  from: number,
  policy: ReasoningPolicy,
): number | undefined => {
  const { at, differs } = compared(recorded, replayed, from, policy)
  return differs ? undefined : at - from
}

/** `at`: the index in `replayed` of the first item that stands for none of `recorded`, or that should and `differs`. */
export const compared = (
  recorded: ReadonlyArray<Item>,
  replayed: ReadonlyArray<Item>,
  from: number,
  policy: ReasoningPolicy,
): { readonly at: number; readonly differs: boolean } => {
  let at = from
  for (const item of recorded) {
    const consumed = matchOne(item, replayed, at)
    if (consumed > 0) at += consumed
    else if (item.kind !== "reasoning" || policy === "strict") return { at, differs: true }
  }
  return { at, differs: false }
}

/** How many replayed items stand for one recorded item; 0: none does. */
const matchOne = (recorded: Item, replayed: ReadonlyArray<Item>, at: number): number => {
  const item = replayed[at]
  if (item === undefined) return 0
  if (item.kind === "reference") return item.id !== undefined && item.id === recorded.id ? 1 : 0
  if (item.kind !== recorded.kind) return 0
  if (recorded.reasoning !== undefined) return sameReasoning(recorded, item) ? 1 : 0
  if (recorded.message !== undefined) return matchMessage(recorded.message, replayed, at)
  return recorded.form === item.form ? 1 : 0
}

/** Compares encrypted content if both have it, else ids, else summaries. What both show must always be the same. */
const sameReasoning = (recorded: Item, replayed: Item): boolean => {
  const a = recorded.reasoning
  const b = replayed.reasoning
  if (a === undefined || b === undefined || a.frame !== b.frame) return false
  const differs = (x: string | undefined, y: string | undefined) => x !== undefined && y !== undefined && x !== y
  if (differs(a.encrypted, b.encrypted) || differs(a.summary, b.summary) || differs(a.content, b.content)) return false
  // A part that the client shows and the upstream never sent is an edit, too.
  if (b.encrypted !== undefined && a.encrypted === undefined) return false
  if (b.summary !== undefined && a.summary === undefined) return false
  if (b.content !== undefined && a.content === undefined) return false
  if (a.encrypted !== undefined && b.encrypted !== undefined) return true
  if (recorded.id !== undefined && replayed.id !== undefined) return recorded.id === replayed.id
  return a.summary === undefined ? a.content !== undefined && a.content === b.content : a.summary === b.summary
}

const matchMessage = (recorded: MessageParts, replayed: ReadonlyArray<Item>, at: number): number => {
  const fits = (message: MessageParts | undefined): message is MessageParts =>
    message !== undefined &&
    message.frame === recorded.frame &&
    (message.phase === undefined || message.phase === recorded.phase)

  const first = replayed[at]?.message
  if (!fits(first)) return 0
  const inOnePiece = first.text !== undefined && first.text === recorded.text ? 1 : 0

  // Part by part first: several messages may stand for the recorded one, even where the first holds all its text.
  let message: MessageParts | undefined = first
  let found = 0
  let consumed = 0
  do {
    if (!fits(message) || (message.parts.length === 0 && recorded.parts.length > 0)) return inOnePiece
    for (const part of message.parts) if (part !== recorded.parts[found++]) return inOnePiece
    message = replayed[at + ++consumed]?.message
  } while (found < recorded.parts.length)
  return consumed
}
