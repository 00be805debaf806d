/**
 * Decides what of a request must be sent on a connection: pure data in, pure data out.
 *
 * The law: the context the upstream rebuilds from the planned request equals the context of the client's full request
 * (docs/life-of-a-turn.md, Plan). Where that is not certain the plan is `Full`, with a named reason: as far as the
 * connection tells. What else is remembered may tell more (`Near.ts`).
 */
import type { Checkpoint } from "./Checkpoint.ts"
import { covered } from "./Checkpoint.ts"
import type { Lineage } from "./Lineage.ts"
import { itemsIn } from "./Lineage.ts"
import type { ReasoningPolicy } from "./Matching.ts"

export type Plan =
  | {
      readonly _tag: "Suffix"
      readonly reason: "continued" | "client_chain"
      /** The anchor that respool sets; undefined when the client's anchor stays in the request as it is. */
      readonly previousResponseId: string | undefined
      /** The index of the first input item to send. */
      readonly fromItem: number
    }
  | { readonly _tag: "Full"; readonly reason: FullReason; readonly fromItem: 0; readonly previousResponseId: undefined }

type FullReason =
  /** Nothing is remembered that comes near the request: a first turn, as far as is known. */
  | "no_checkpoint"
  /** The new input does not begin with the remembered items: an edit or a compaction. */
  | "history_changed"
  /** A member that decides (model, store, …) differs from the remembered turn's. */
  | "members_changed"
  /** The connection had another conversation, which nothing continued. */
  | "cold_taken_over"
  /** The connection that could go on is in use by another turn: a branch. */
  | "chain_busy"
  /** What the request continues is remembered in another session of the same caller. */
  | "session_changed"
  /** What the request continues is remembered on a connection that the turn can't use: it has another affinity. */
  | "affinity_changed"
  /** The request keeps its state in a `conversation`, which excludes a `previous_response_id`. */
  | "conversation_bound"
  /** Every item is known already, so the suffix would be empty. */
  | "nothing_new"
  /** The client chains by itself, and no connection here holds its anchor, or it is not even a text: the upstream judges. */
  | "client_anchor"
  /** The upstream refused the last suffixes, so none is tried for a while. */
  | "anchors_refused"
  /** `input` is neither a list nor a text, so there is nothing to compare. */
  | "input_not_a_list"
  /** To compare it would cost more than to send it: it has too many values or too large ones, or there is no room for it. */
  | "too_costly"

const full = (reason: FullReason): Plan => ({ _tag: "Full", reason, fromItem: 0, previousResponseId: undefined })

/**
 * Plans a turn on a connection that holds `checkpoint` (undefined: none). `anchorsRefused`: the upstream takes none of
 * respool's.
 */
export const plan = (
  lineage: Lineage,
  checkpoint: Checkpoint | undefined,
  policy: ReasoningPolicy,
  anchorsRefused = false,
): Plan => {
  if (lineage.chains) {
    return lineage.anchor !== undefined && checkpoint?.responseId === lineage.anchor
      ? { _tag: "Suffix", reason: "client_chain", previousResponseId: undefined, fromItem: 0 }
      : full("client_anchor")
  }
  if (lineage.conversation) return full("conversation_bound")
  if (lineage.costly) return full("too_costly")
  if (!lineage.comparable) return full("input_not_a_list")
  if (checkpoint === undefined) return full("no_checkpoint")
  const from = covered(checkpoint, lineage, policy)
  if (from === undefined) return full("history_changed")
  if (checkpoint.members !== lineage.members) return full("members_changed")
  if (from === itemsIn(lineage)) return full("nothing_new")
  if (anchorsRefused) return full("anchors_refused")
  return { _tag: "Suffix", reason: "continued", previousResponseId: checkpoint.responseId, fromItem: from }
}
