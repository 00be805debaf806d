/**
 * What a client gets for its request, whatever it came by: HTTP makes a response of it, and so can any other front.
 */
export interface Answer {
  readonly status: number
  /** Names in lower case, `content-type` among them. */
  readonly headers: Readonly<Record<string, string>>
  /** A stream's `cancel` says that the client went away. */
  readonly body: string | ReadableStream<Uint8Array>
}
