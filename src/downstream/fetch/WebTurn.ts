/**
 * What of a turn is the web's own: the address that it is asked of, and an answer that its caller may break off. Nothing
 * of Effect is loaded for it.
 */
import type { SettingsOptions } from "../../config/Settings.ts"

/** So many addresses have pools of their own; what is asked of others goes where everything else goes. */
export const maxAddresses = 64

/** Whether every turn goes to the upstream that the settings name, whatever address it is asked of. */
export const namesUpstream = (settings: SettingsOptions): boolean =>
  ["upstreamUrl", "profile", "upstreams"].some((name) => name in settings)

/** The name of the front that carries the turns of an address. */
export const frontOf = (settings: SettingsOptions): ((address: string) => string) =>
  namesUpstream(settings) ? () => "" : (address) => address

/**
 * Aborting breaks the body off for its reader, and ends the turn, whether or not anybody reads. (A `pipeThrough` with the
 * signal waits, before it cancels, until what it has read is taken.)
 */
export const abortable = (response: Response, signal: AbortSignal): Response => {
  const { body, headers, status } = response
  if (body === null) return response
  const reader = body.getReader()
  let abort = () => {}
  const over = () => signal.removeEventListener("abort", abort)
  const whole = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        abort = () => {
          controller.error(signal.reason)
          void reader.cancel(signal.reason)
        }
        if (signal.aborted) abort()
        else signal.addEventListener("abort", abort, { once: true })
      },
      pull: async (controller) => {
        const { done, value } = await reader.read()
        if (done) over()
        if (signal.aborted) return
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: (reason) => {
        over()
        return reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
  return new Response(whole, { status, headers })
}

/**
 * The address that a request asks its turn of, which is its URL up to `/responses`; undefined: it is no turn, or is
 * encoded in a way that nobody here undoes.
 */
export const addressOf = (method: string, url: URL, headers: { readonly has: (name: string) => boolean }) =>
  method.toUpperCase() === "POST" &&
  /^https?:$/.test(url.protocol) &&
  url.pathname.endsWith("/responses") &&
  !headers.has("content-encoding")
    ? `${url.origin}${url.pathname.slice(0, -"/responses".length)}`
    : undefined
