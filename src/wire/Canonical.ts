/**
 * Writes JSON values in one canonical form, as bytes, so that equal values have equal bytes and no others do.
 *
 * Equal means: the same value, with the order of an object's members, white space and the spelling of a string's
 * characters left out of account, and numbers compared as written (`1.0` is not `1`, and 2^53+1 is not 2^53). The form
 * is JSON itself: members sorted by the bytes of their written names, `"` and `\` escaped, control characters and lone
 * surrogates as `\u` and four lower-case digits, everything else as UTF-8. A name that an object has twice is kept
 * twice, in order of appearance.
 *
 * It reads only what `scanObject` has vouched for. Its work grows with the text's length, not with that times its
 * depth, and it does not recurse. A value of more than `maxTokens` tokens or `maxNames` names is written as it is, with all
 * its members: then only the same text is equal to it, and no other value's form is, since that form has no more of them.
 *
 * By hand, because `JSON.parse`, sorted members and `JSON.stringify` would round numbers and merge names that stand
 * twice, and take 4.5 times as long over the items of a 1 MB history (7.6 times if it is ASCII; Bun 1.4.5).
 */
import { byteAt, canonicalEnd, canonicalString, decodeString, type Span, writeCanonicalString } from "./JsonString.ts"

/**
 * Says whether a member stays. `depth` is 0 for the members of the written value itself, and arrays count as a level
 * too; members deeper than 1 stay, and it is not asked. The member's value lies in `bytes` at `start`..`end`.
 */
export type MemberFilter = (depth: number, key: string, bytes: Uint8Array, start: number, end: number) => boolean

/** A container that is being written. */
interface Open {
  /** The tokens of an object's names, in the order in which they are written; undefined for an array. */
  readonly names: ReadonlyArray<number> | undefined
  /** Members or elements written so far. */
  count: number
  /** An array's next element, as a token. */
  next: number
  /** The first token behind the container. */
  readonly stop: number
}

// A token is a name, a scalar or a container. It takes three numbers: where it starts, where it ends, and a third. The
// third number of a container is the first token behind it; that of a string is 1 if it is not in canonical spelling.
const tokenSize = 3

/** The most names, scalars and containers of one value that are told apart; they take 12 bytes each. */
const maxTokens = 1 << 20

/** The most names of one value that are sorted: more take longer than a step of work should. */
const maxNames = 1 << 14

/** The largest buffer that outlives a `reset`, in bytes. */
const retained = 1 << 20

const tokenAt = (tokens: Int32Array, at: number): number => tokens[at] ?? 0

const isOpening = (byte: number): boolean => byte === 0x7b || byte === 0x5b

export class CanonicalWriter {
  /** Reused: only the first `length` bytes count, and only until the next write. */
  bytes = new Uint8Array(4096)
  length = 0
  /** True if an object written since the last `reset` has two members of one name, or is too large to tell. */
  hasDuplicateMember = false

  #tokens = new Int32Array(64 * tokenSize)
  /** The canonical spelling, by token, of each name that is spelled otherwise. */
  readonly #spelled = new Map<number, Uint8Array>()

  /** Keeps only the first `length` bytes. A buffer that one big value made large is given back. */
  reset(length = 0): void {
    if (this.bytes.length > retained && length < retained) this.bytes = this.bytes.slice(0, retained)
    if (this.#tokens.length > retained) this.#tokens = new Int32Array(64 * tokenSize)
    this.length = length
    this.hasDuplicateMember = false
  }

  /** Appends bytes as they are. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** Appends the canonical form of the value at `span`, without the members that `keep` refuses. */
  value(bytes: Uint8Array, span: Span, keep?: MemberFilter): void {
    // No canonical form is longer than the text it stands for, so there is room for all of it from here on.
    this.#reserve(span.end - span.start)
    if (!this.#tokenize(bytes, span)) {
      this.bytes.set(bytes.subarray(span.start, span.end), this.length)
      this.length += span.end - span.start
      this.hasDuplicateMember = true
      return
    }
    const stack: Array<Open> = []
    let token = 0
    for (;;) {
      if (isOpening(byteAt(bytes, tokenAt(this.#tokens, token * tokenSize))))
        stack.push(this.#open(bytes, token, stack.length, keep))
      else this.#scalar(bytes, token)
      for (;;) {
        const top = stack[stack.length - 1]
        if (top === undefined) return
        if (top.names === undefined) {
          if (top.next < top.stop) {
            if (top.count++ > 0) this.#byte(0x2c)
            token = top.next
            top.next = this.#behind(bytes, token)
            break
          }
          this.#byte(0x5d)
        } else {
          const name = top.names[top.count]
          if (name !== undefined) {
            if (top.count++ > 0) this.#byte(0x2c)
            this.#scalar(bytes, name)
            this.#byte(0x3a)
            token = name + 1
            break
          }
          this.#byte(0x7d)
        }
        stack.pop()
      }
    }
  }

  #reserve(size: number): void {
    if (this.length + size <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(this.length + size, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  #byte(byte: number): void {
    this.bytes[this.length++] = byte
  }

  /** The token behind a value. */
  #behind(bytes: Uint8Array, token: number): number {
    const at = token * tokenSize
    return isOpening(byteAt(bytes, tokenAt(this.#tokens, at))) ? tokenAt(this.#tokens, at + 2) : token + 1
  }

  /** Notes where each token ends, so that no later step has to look for it. False: the value has too many tokens or names. */
  #tokenize(bytes: Uint8Array, span: Span): boolean {
    this.#spelled.clear()
    const open: Array<number> = []
    const end = span.end
    let tokens = this.#tokens
    let at = 0
    let names = 0
    for (let i = span.start; i < end;) {
      const byte = byteAt(bytes, i)
      if (byte <= 0x20 || byte === 0x2c || byte === 0x3a) {
        if (byte === 0x3a && ++names > maxNames) return false
        i++
        continue
      }
      if (byte === 0x5d || byte === 0x7d) {
        const closed = open.pop() ?? 0
        tokens[closed + 1] = ++i
        tokens[closed + 2] = at / tokenSize
        continue
      }
      if (at === tokens.length) {
        if (at >= maxTokens * tokenSize) return false
        this.#tokens = new Int32Array(at * 2)
        this.#tokens.set(tokens)
        tokens = this.#tokens
      }
      tokens[at] = i
      if (byte === 0x22) {
        const behind = canonicalEnd(bytes, i, end)
        i = behind < 0 ? -behind : behind
        tokens[at + 1] = i
        tokens[at + 2] = behind < 0 ? 1 : 0
      } else if (isOpening(byte)) {
        open.push(at)
        i++
      } else {
        for (i++; i < end; i++) {
          const next = byteAt(bytes, i)
          if (next <= 0x20 || next === 0x2c || next === 0x5d || next === 0x7d) break
        }
        tokens[at + 1] = i
        tokens[at + 2] = 0
      }
      at += tokenSize
    }
    return true
  }

  /** Writes the opening bracket, and finds out which members of an object stay, and in which order. */
  #open(bytes: Uint8Array, token: number, depth: number, keep: MemberFilter | undefined): Open {
    const tokens = this.#tokens
    const opening = byteAt(bytes, tokenAt(tokens, token * tokenSize))
    const stop = tokenAt(tokens, token * tokenSize + 2)
    this.#byte(opening)
    if (opening === 0x5b) return { names: undefined, count: 0, next: token + 1, stop }
    const names: Array<number> = []
    for (let name = token + 1; name < stop; name = this.#behind(bytes, name + 1)) {
      const at = name * tokenSize
      const nameStart = tokenAt(tokens, at)
      const nameEnd = tokenAt(tokens, at + 1)
      const value = at + tokenSize
      if (
        keep !== undefined &&
        depth <= 1 &&
        !keep(depth, decodeString(bytes, nameStart, nameEnd), bytes, tokenAt(tokens, value), tokenAt(tokens, value + 1))
      ) {
        continue
      }
      if (tokens[at + 2] === 1) this.#spelled.set(name, canonicalString(bytes, nameStart, nameEnd))
      names.push(name)
    }
    this.#sort(bytes, names)
    return { names, count: 0, next: 0, stop }
  }

  /** Sorts names and notes whether two are equal; equal ones stay in order of appearance. */
  #sort(bytes: Uint8Array, names: Array<number>): void {
    // Most objects have few members, for which inserting is fastest; a client may send one with very many.
    if (names.length > 16) {
      names.sort((a, b) => {
        const order = this.#compare(bytes, a, b)
        if (order === 0 && a !== b) this.hasDuplicateMember = true
        return order
      })
      return
    }
    for (const [i, name] of names.entries()) {
      let k = i
      for (; k > 0; k--) {
        const before = names[k - 1] ?? 0
        const order = this.#compare(bytes, before, name)
        if (order === 0) this.hasDuplicateMember = true
        if (order <= 0) break
        names[k] = before
      }
      names[k] = name
    }
  }

  #compare(bytes: Uint8Array, a: number, b: number): number {
    const spelledA = this.#spelled.get(a)
    const spelledB = this.#spelled.get(b)
    const startA = spelledA === undefined ? tokenAt(this.#tokens, a * tokenSize) : 0
    const startB = spelledB === undefined ? tokenAt(this.#tokens, b * tokenSize) : 0
    const lengthA = spelledA?.length ?? tokenAt(this.#tokens, a * tokenSize + 1) - startA
    const lengthB = spelledB?.length ?? tokenAt(this.#tokens, b * tokenSize + 1) - startB
    const textA = spelledA ?? bytes
    const textB = spelledB ?? bytes
    const shorter = Math.min(lengthA, lengthB)
    for (let i = 1; i < shorter; i++) {
      const difference = byteAt(textA, startA + i) - byteAt(textB, startB + i)
      if (difference !== 0) return difference
    }
    // Compared with its closing quote, no name is the beginning of another.
    return 0
  }

  #scalar(bytes: Uint8Array, token: number): void {
    const at = token * tokenSize
    const start = tokenAt(this.#tokens, at)
    const end = tokenAt(this.#tokens, at + 1)
    if (this.#tokens[at + 2] === 1) {
      this.length = writeCanonicalString(bytes, start, end, this.bytes, this.length)
    } else if (end - start > 48) {
      this.bytes.set(bytes.subarray(start, end), this.length)
      this.length += end - start
    } else {
      const out = this.bytes
      let position = this.length
      for (let i = start; i < end; i++) out[position++] = byteAt(bytes, i)
      this.length = position
    }
  }
}
