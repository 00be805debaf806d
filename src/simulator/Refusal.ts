/**
 * Writes errors in the API's shapes: as the error envelope of the socket, as an HTTP body, and as the event of a
 * stream.
 *
 * Source: docs/protocol.md 1.7.
 */
export interface Refusal {
  readonly _tag: "Refusal"
  readonly status: number
  readonly type: string
  readonly code: string | null
  readonly message: string
  readonly param: string | null
  readonly headers?: Readonly<Record<string, string>>
  /** True: the error has `code` and `message` and no other member. */
  readonly bare?: boolean
}

export const invalid = (
  message: string,
  details: { readonly code?: string; readonly param?: string; readonly status?: number } = {},
): Refusal => ({
  _tag: "Refusal",
  status: details.status ?? 400,
  type: "invalid_request_error",
  code: details.code ?? null,
  message,
  param: details.param ?? null,
})

export const wrongType = (name: string, expected: string): Refusal =>
  invalid(`Invalid type for '${name}': expected ${expected}.`, { code: "invalid_type", param: name })

export const previousResponseNotFound = (id: string): Refusal =>
  invalid(`Previous response with id '${id}' not found.`, {
    code: "previous_response_not_found",
    param: "previous_response_id",
  })

export const connectionLimitReached = (minutes: number): Refusal =>
  invalid(
    `Responses websocket connection limit reached (${minutes} minutes). Create a new websocket connection to continue.`,
    { code: "websocket_connection_limit_reached" },
  )

/** The error frame of the socket; `streamId` is for named lanes only. Some upstreams leave out the error's type. */
export const envelope = (refusal: Refusal, streamId?: string, typed = true): string => {
  const { bare, code, headers, message, param, status, type } = refusal
  return JSON.stringify({
    type: "error",
    status,
    ...(streamId === undefined ? {} : { stream_id: streamId }),
    error: {
      ...(typed ? { type } : {}),
      code,
      message,
      ...(bare === true ? {} : { param }),
      ...(headers === undefined ? {} : { headers }),
    },
  })
}

/** The flat error event, as a stream has it; it is legal on the socket too. */
export const errorEvent = (refusal: Refusal, sequenceNumber: number, streamId?: string): string =>
  JSON.stringify({
    type: "error",
    code: refusal.code,
    message: refusal.message,
    param: refusal.param,
    sequence_number: sequenceNumber,
    ...(streamId === undefined ? {} : { stream_id: streamId }),
  })

/** The body of an HTTP answer. */
export const errorBody = ({ bare, code, message, param, type }: Refusal): string =>
  JSON.stringify({ error: bare === true ? { code, message } : { message, type, param, code } })

/** An error that a test asks for. */
export interface ErrorFault {
  readonly status: number
  readonly code: string | null
  readonly message: string
  readonly type?: string
  readonly param?: string
  readonly headers?: Readonly<Record<string, string>>
  /** The flat event in place of the envelope. */
  readonly flat?: boolean
  /** Leaves `status` out of the envelope. */
  readonly withoutStatus?: boolean
}

export const refusalOf = (fault: ErrorFault): Refusal => ({
  _tag: "Refusal",
  status: fault.status,
  type: fault.type ?? (fault.status >= 500 ? "server_error" : "invalid_request_error"),
  code: fault.code,
  message: fault.message,
  param: fault.param ?? null,
  ...(fault.headers === undefined ? {} : { headers: fault.headers }),
})

/** The error's frame on the socket, after so many other frames. */
export const errorText = (fault: ErrorFault, sent: number, streamId?: string): string => {
  const refusal = refusalOf(fault)
  const whole = fault.flat === true ? errorEvent(refusal, sent, streamId) : envelope(refusal, streamId)
  return fault.withoutStatus === true ? whole.replace(`"status":${fault.status},`, "") : whole
}
