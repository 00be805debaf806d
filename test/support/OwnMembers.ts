/**
 * The members of a request that are respool's to set or mean nothing on a socket: none goes upstream as the client wrote
 * it (docs/life-of-a-turn.md, Bytes).
 */
export const ownMembers: ReadonlyArray<string> = [
  "type",
  "stream",
  "background",
  "background_options",
  "stream_id",
  "generate",
]
