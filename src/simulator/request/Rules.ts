/**
 * Refuses the create requests that one upstream takes and another does not, before any conversation is looked at.
 */
import type { CreateRequest, Transport } from "./CreateRequest.ts"
import { readCreateRequest } from "./CreateRequest.ts"
import type { Profile } from "../Profile.ts"
import type { Refusal } from "../Refusal.ts"
import { invalid } from "../Refusal.ts"
import type { Entry, SimulatorState } from "../SimulatorState.ts"

const deploymentNotFound: Refusal = {
  ...invalid(
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.",
    { status: 404, code: "DeploymentNotFound" },
  ),
  bare: true,
}

/** The model that a create request names, where it names one. */
export const modelOf = ({ value }: CreateRequest): string | undefined =>
  typeof value.model === "string" ? value.model : undefined

const broken = (
  { deployments, profile }: SimulatorState,
  request: CreateRequest,
  transport: Transport,
): Refusal | undefined => {
  if (!profile.lanes && request.streamId !== undefined) {
    return invalid("Unknown parameter: 'stream_id'.", { code: "unknown_parameter", param: "stream_id" })
  }
  const model = modelOf(request)
  if (profile.deployments && model !== undefined && !deployments.includes(model)) return deploymentNotFound
  if (!profile.codexRequests) return undefined
  if (request.store) return invalid("Store must be set to false", { param: "store" })
  return transport === "http" && !request.stream
    ? invalid("Stream must be set to true", { param: "stream" })
    : undefined
}

/** The request, or why this upstream refuses it before any conversation is looked at. */
export const readRequest = (state: SimulatorState, text: string, transport: Transport): CreateRequest | Refusal => {
  const request = readCreateRequest(text, transport)
  return request._tag === "Refusal" ? request : (broken(state, request, transport) ?? request)
}

/** A developer message at the beginning of the context counts as instructions, too (docs/protocol.md 3.4). */
export const notInstructed = (
  { codexRequests }: Profile,
  request: CreateRequest,
  entries: ReadonlyArray<Entry>,
): Refusal | undefined => {
  if (!codexRequests || entries[0]?.value.role === "developer") return undefined
  return typeof request.value.instructions === "string" && request.value.instructions !== ""
    ? undefined
    : invalid("Instructions are required", { param: "instructions" })
}

/** `pinned` is the model of the connection's earlier requests. */
export const modelMismatch = (
  { oneModel }: Profile,
  pinned: string | undefined,
  request: CreateRequest,
): Refusal | undefined => {
  const model = modelOf(request)
  return oneModel && pinned !== undefined && model !== pinned
    ? invalid(`This connection is for the model '${pinned}'. Open another one for '${model ?? ""}'.`, {
        code: "model_mismatch",
        param: "model",
      })
    : undefined
}
