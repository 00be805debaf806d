/**
 * Reads the body of a response as it comes, as far as a test wants.
 */
import { Effect } from "effect"

/** What is given is not given again. But for `ending`, a body that ends or breaks off too early is a defect. */
export const reading = ({ body }: Response) => {
  const reader = body?.getReader()
  const decoder = new TextDecoder()
  let text = ""
  const given = (length = text.length) => {
    const taken = text.slice(0, length)
    text = text.slice(length)
    return taken
  }
  /** False at the end. */
  const more = async () => {
    const part = await reader?.read()
    if (part?.done !== false) return false
    text += decoder.decode(part.value, { stream: true })
    return true
  }
  const until = async (enough: () => boolean) => {
    while (!enough()) if (!(await more())) throw new Error(`the stream ended after ${text}`)
  }
  return {
    take: (length: number) =>
      Effect.promise(async () => {
        await until(() => text.length >= length)
        return given(length)
      }),
    /** All that has come once it holds `mark`. */
    upTo: (mark: string) =>
      Effect.promise(async () => {
        await until(() => text.includes(mark))
        return given()
      }),
    rest: Effect.promise(async () => {
      while (await more());
      return given()
    }),
    /** The rest, and whether it broke off before its end. */
    ending: Effect.promise(async () => {
      try {
        while (await more());
        return { text: given(), broken: false }
      } catch {
        return { text: given(), broken: true }
      }
    }),
  }
}
