/**
 * One conversation's request body, which grows at its end; the bytes before stay as they are.
 */
const tail = '],"stream":true,"store":false}'

export class Conversation {
  readonly name: string
  /** Bytes of the members that are not `input`. */
  readonly members: number
  /** Bytes of the latest new items, which no answer brought. */
  added = 0
  /** Turns so far. */
  turns = 0
  #bytes: Buffer
  /** Where the input's closing bracket stands. */
  #end: number
  #empty = true

  constructor(name: string, members: string, capacity: number) {
    this.name = name
    const head = `{"model":"gpt-5.5",${members},"input":[`
    this.members = head.length + tail.length
    this.#bytes = Buffer.allocUnsafe(this.members + capacity + 1024)
    this.#end = this.#bytes.write(head, "utf8")
  }

  append(items: ReadonlyArray<string>) {
    const text = items.join(",")
    const needed = this.#end + Buffer.byteLength(text) + 1 + tail.length
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(needed * 2)
      this.#bytes.copy(larger, 0, 0, this.#end)
      this.#bytes = larger
    }
    this.#end += this.#bytes.write(this.#empty ? text : `,${text}`, this.#end, "utf8")
    this.#empty = false
  }

  /** Items that the client adds by itself. */
  add(items: ReadonlyArray<string>) {
    const before = this.#end
    this.append(items)
    this.added = this.#end - before
  }

  /** The request; valid until the next `append`. */
  body(): Buffer {
    const length = this.#end + this.#bytes.write(tail, this.#end, "latin1")
    return this.#bytes.subarray(0, length)
  }
}

/** The items of an answer, each as `JSON.stringify` writes it. */
export const itemsOf = (answer: string): ReadonlyArray<string> => {
  const items: Array<string> = []
  for (const event of answer.split("\n\n")) {
    const data = event.slice(event.indexOf("data: ") + 6)
    if (!data.startsWith('{"type":"response.output_item.done"')) continue
    const { item } = JSON.parse(data) as { readonly item: object }
    items.push(JSON.stringify(item))
  }
  return items
}

/** The call that an answer asks for. */
export const callOf = (items: ReadonlyArray<string>): string | undefined => {
  for (const text of items) {
    const item = JSON.parse(text) as { readonly type: string; readonly call_id?: string }
    if (item.type === "function_call") return item.call_id
  }
  return undefined
}
