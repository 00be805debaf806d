/**
 * How an owner's answer is written on its stream: frames of text, in which an event stands as the upstream wrote it.
 *
 * A frame is a letter, the length of its text in UTF-16 units, a colon and the text. An event has the length of its type
 * in front. So nothing in an event is looked at or escaped on the way.
 */

/** What a frame tells. */
export const Kind = {
  /** The turn is the owner's from here on. */
  taken: "T",
  /** It still lives. */
  alive: "A",
  route: "R",
  head: "H",
  event: "E",
  /** How the upstream ended the turn. */
  end: "D",
  /** Why there is no answer, or no more of it. */
  failure: "F",
} as const

export const frame = (kind: string, text: string): string => `${kind}${text.length}:${text}`

export const eventFrame = (type: string, text: string): string => `E${type.length},${text.length}:${type}${text}`

export interface FrameListener {
  readonly event: (type: string, text: string) => void
  readonly other: (kind: string, text: string) => void
}

const comma = 0x2c
const colon = 0x3a

/** A longer number is none of ours. */
const maxDigits = 10

/** Takes the stream's text piece by piece. */
export class FrameParser {
  #rest = ""
  readonly #listener: FrameListener

  constructor(listener: FrameListener) {
    this.#listener = listener
  }

  /** False: it is no stream of frames, and what follows can't be read. */
  feed(piece: string): boolean {
    const text = this.#rest === "" ? piece : this.#rest + piece
    let at = 0
    while (at < text.length) {
      let typeLength = -1
      let length = 0
      let i = at + 1
      let code = 0
      for (; i < text.length; i++) {
        code = text.charCodeAt(i)
        if (code === colon) break
        if (code === comma) {
          typeLength = length
          length = 0
        } else if (code >= 0x30 && code <= 0x39) length = length * 10 + code - 0x30
        else return false
        if (i - at > 2 * maxDigits) return false
      }
      if (code !== colon || i >= text.length) break
      const start = i + 1
      const end = start + Math.max(0, typeLength) + length
      if (end > text.length) break
      if (typeLength >= 0) {
        if (text[at] !== "E") return false
        this.#listener.event(text.slice(start, start + typeLength), text.slice(start + typeLength, end))
      } else this.#listener.other(text[at] ?? "", text.slice(start, end))
      at = end
    }
    this.#rest = at === 0 ? text : text.slice(at)
    return true
  }
}
