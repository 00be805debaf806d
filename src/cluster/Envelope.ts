/**
 * A turn as its entry node hands it to the owner: all that is known of it but the body, which travels as it is beside.
 *
 * What the answer's way to the client needs stays with the entry node: what a tenant may see, and who is told of events.
 */
import { Redacted, Schema } from "effect"
import type { Caller } from "../turn/Caller.ts"
import type { TurnRequest } from "../turn/Executor.ts"
import { TurnEnd } from "../turn/Executor.ts"
import { Steering } from "../turn/Steering.ts"
import { TurnError, turnErrorTold } from "../turn/TurnError.ts"
import type { RequestBody } from "../wire/RequestBody.ts"

/** Nodes that write or read turns in another way do not hand each other any. */
export const version = 2

const Credential = Schema.Struct({
  headers: Schema.Record(Schema.String, Schema.String),
  identity: Schema.String,
  owner: Schema.Literals(["caller", "app", "upstream"]),
})

const EnvelopeStruct = Schema.Struct({
  version: Schema.Literal(version),
  turnId: Schema.String,
  id: Schema.String,
  /** How long the turn had been under way, in milliseconds: the owner has another clock. */
  elapsed: Schema.Number,
  query: Schema.String,
  stream: Schema.Boolean,
  caller: Schema.Struct({
    scope: Schema.optionalKey(Schema.String),
    label: Schema.String,
    tenant: Schema.Boolean,
    credential: Schema.optionalKey(Credential),
  }),
  session: Schema.optionalKey(Schema.Struct({ key: Schema.String, name: Schema.String })),
  headers: Schema.Record(Schema.String, Schema.String),
  trace: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
  /** The group in which the body's head is looked for. */
  group: Schema.optionalKey(Schema.String),
  clientSocket: Schema.optionalKey(
    Schema.Struct({
      omit: Schema.Array(Schema.String),
      warmUp: Schema.Boolean,
      anchor: Schema.optionalKey(Schema.String),
    }),
  ),
})

const Envelope = Schema.fromJsonString(EnvelopeStruct)
export type Envelope = typeof EnvelopeStruct.Type

const read = Schema.decodeUnknownOption(Envelope)

export const readEnvelope = (text: string): Envelope | undefined => {
  const envelope = read(text)
  return envelope._tag === "Some" ? envelope.value : undefined
}

const callerTold = ({ credential, label, scope, tenant }: Caller): Envelope["caller"] => ({
  label,
  tenant,
  ...(scope === undefined ? {} : { scope }),
  ...(credential === undefined
    ? {}
    : {
        credential: {
          headers: Redacted.value(credential.headers),
          identity: credential.identity,
          owner: credential.owner,
        },
      }),
})

/** It holds the caller's credential, so it is only ever sealed. `now` is on the clock of the turn's `startedAt`. */
export const written = (turn: TurnRequest, now: number, group: string | undefined): string => {
  const { clientSocket, session, trace } = turn
  const envelope: Envelope = {
    version,
    turnId: turn.turnId,
    id: turn.id,
    elapsed: now - turn.startedAt,
    query: turn.query,
    stream: turn.stream,
    caller: callerTold(turn.caller),
    headers: Object.fromEntries(
      Object.entries(turn.headers).filter((header): header is [string, string] => header[1] !== undefined),
    ),
    ...(session === undefined ? {} : { session }),
    ...(trace === undefined ? {} : { trace }),
    ...(group === undefined ? {} : { group }),
    ...(clientSocket === undefined
      ? {}
      : {
          clientSocket: {
            omit: [...clientSocket.omit],
            warmUp: clientSocket.warmUp,
            ...(clientSocket.anchor === undefined ? {} : { anchor: clientSocket.anchor }),
          },
        }),
  }
  return JSON.stringify(envelope)
}

/** So many callers are known, by what was told of them. */
const maxCallers = 256

/**
 * The turn as the owner runs it. A caller that was told before is the same object again, so that what is derived from it
 * is made once.
 */
export const makeReceived = () => {
  const callers = new Map<string, Caller>()

  const callerOf = (told: Envelope["caller"]): Caller => {
    const { credential, label, scope, tenant } = told
    const identity = JSON.stringify([scope, label, tenant, credential?.owner, credential?.identity])
    const known = callers.get(identity)
    if (known !== undefined) return known
    const caller: Caller = {
      scope,
      label,
      tenant,
      credential:
        credential === undefined ? undefined : { ...credential, headers: Redacted.make({ ...credential.headers }) },
    }
    callers.set(identity, caller)
    const [oldest] = callers.keys()
    if (oldest !== undefined && callers.size > maxCallers) callers.delete(oldest)
    return caller
  }

  return (envelope: Envelope, body: RequestBody, now: number): TurnRequest => {
    const { clientSocket, session, trace } = envelope
    return {
      turnId: envelope.turnId,
      id: envelope.id,
      startedAt: now - envelope.elapsed,
      body,
      query: envelope.query,
      stream: envelope.stream,
      caller: callerOf(envelope.caller),
      session,
      headers: envelope.headers,
      ...(trace === undefined ? {} : { trace }),
      ...(clientSocket === undefined
        ? {}
        : {
            clientSocket: {
              omit: new Set(clientSocket.omit),
              warmUp: clientSocket.warmUp,
              anchor: clientSocket.anchor,
              steering: new Steering(),
            },
          }),
    }
  }
}

/** What the entry node needs to know of how the turn ended. The items are in the events. */
const End = Schema.fromJsonString(TurnEnd)

export const endTold = (end: TurnEnd): string => JSON.stringify({ ...end, output: [] })

export const readEnd = Schema.decodeUnknownOption(End)

const Failure = Schema.fromJsonString(Schema.Struct(turnErrorTold))

export const failureTold = ({ answer, code, delivery, event, message, reason }: TurnError): string =>
  JSON.stringify({ reason, delivery, message, answer, code, event })

const readError = Schema.decodeUnknownOption(Failure)

/** Undefined: the text is no failure. */
export const readFailure = (text: string): TurnError | undefined => {
  const failure = readError(text)
  return failure._tag === "Some" ? new TurnError(failure.value) : undefined
}
