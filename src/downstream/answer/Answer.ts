/**
 * The answer to a client's request, independent of the front: HTTP makes a response of it, and so can any other front.
 */
export interface Answer {
  readonly status: number
  /** Names in lower case, `content-type` among them. */
  readonly headers: Readonly<Record<string, string>>
  /** A front calls the stream's `cancel` when the client goes away. */
  readonly body: string | ReadableStream<Uint8Array>
}
