/**
 * Request bodies that no client means to send, drawn from a seed, and an oracle of their own for what becomes of them.
 */
import { utf8 } from "./Bytes.ts"
import { damaged, makeRandom } from "./Random.ts"
import type { Random } from "./Random.ts"
import { codec, decoders, encoders } from "./Encodings.ts"
import { ownMembers } from "./OwnMembers.ts"

export interface Fuzzed {
  readonly body: Uint8Array
  readonly encoding: string | undefined
  /** How it was made, for the report of a failure. */
  readonly how: string
}

export type Verdict = "upstream" | { readonly status: number; readonly codes: ReadonlyArray<string> }

const of = <A>(random: Random, list: ReadonlyArray<A>): A => {
  const one = list[random(list.length)]
  if (one === undefined) throw new RangeError("nothing to choose from")
  return one
}

const strings = [
  `"a"`,
  `""`,
  `"\\u0000\\u001f"`,
  `"\\ud83d"`,
  `"\\ude00\\ud83d"`,
  `"\\ud83d\\ude00"`,
  `"é漢😀\u2028\ufeff"`,
  `"\\"\\\\\\/\\b\\f\\n\\r\\t"`,
  `"__proto__"`,
  `"${"x".repeat(300)}"`,
]

const numbers = ["0", "-0", "1.0", "1e999", "-1E-999", "9007199254740993", "9".repeat(400), `0.${"1".repeat(400)}`]

const value = (random: Random, depth = 0): string => {
  switch (random(depth > 4 ? 4 : 7)) {
    case 0:
      return of(random, strings)
    case 1:
      return of(random, numbers)
    case 2:
      return of(random, ["null", "true", "false"])
    case 3:
      return of(random, ["[]", "{}", "[[]]", `{"":{}}`])
    case 4:
      return `[${Array.from({ length: random(5) }, () => value(random, depth + 1)).join(",")}]`
    case 5:
      return `{${Array.from({ length: random(5) }, () => `${of(random, strings)}:${value(random, depth + 1)}`).join(",")}}`
    default: {
      const deep = of(random, [3, 100, 505, 600, 2000])
      return `${"[".repeat(deep)}${"]".repeat(deep)}`
    }
  }
}

const items = [
  `{"role":"user","content":"What is it?"}`,
  `{"type":"message","role":"user","content":[{"type":"input_text","text":"What is it?"}]}`,
  `{"type":"message","role":"assistant","content":[{"type":"output_text","text":"It is."}]}`,
  `{"type":"function_call","call_id":"call_1","name":"f","arguments":"{\\"a\\": [1.0, 2e3]}"}`,
  `{"type":"function_call_output","call_id":"call_1","output":"done"}`,
  `{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"abc"}`,
]

/** Names that are respool's to set, or that decide where a turn goes. */
const loaded = [
  ...ownMembers,
  "previous_response_id",
  "conversation",
  "prompt_cache_key",
  "store",
  "input",
  "model",
  "tools",
  "instructions",
  "metadata",
  "__proto__",
]

const members = (random: Random): Array<string> => [
  `"model":"gpt-5.5"`,
  `"input":${random(4) === 0 ? `"Hello"` : `[${Array.from({ length: 1 + random(3) }, () => of(random, items)).join(",")}]`}`,
  ...(random(2) === 0 ? [`"stream":true`] : []),
  ...(random(2) === 0 ? [`"store":false`] : []),
  ...(random(3) === 0 ? [`"tools":[{"type":"function","name":"f","parameters":{"type":"object"}}]`] : []),
]

const joined = (list: ReadonlyArray<string>): string => `{${list.join(",")}}`

const inserted = <A>(random: Random, list: ReadonlyArray<A>, one: A): Array<A> =>
  list.toSpliced(random(list.length + 1), 0, one)

/** A name spelled so that a filter on bytes would not see it. */
const disguised = (random: Random, name: string): string => {
  const at = random(name.length)
  return `"${name.slice(0, at)}\\u${name.charCodeAt(at).toString(16).padStart(4, "0")}${name.slice(at + 1)}"`
}

const makers: ReadonlyArray<readonly [how: string, weight: number, make: (random: Random) => string | Uint8Array]> = [
  ["valid", 1, (random) => joined(members(random))],
  ["bits flipped", 5, (random) => damaged(random, utf8(joined(members(random))))],
  ["cut", 3, (random) => ((text) => utf8(text).subarray(0, random(text.length)))(joined(members(random)))],
  ["member twice", 3, (random) => ((list) => joined(inserted(random, list, of(random, list))))(members(random))],
  [
    "member twice in disguise",
    2,
    (random) => joined(inserted(random, members(random), `${disguised(random, of(random, ["model", "input"]))}:1`)),
  ],
  [
    "smuggled member",
    1,
    (random) =>
      ((name) =>
        joined(
          inserted(
            random,
            members(random),
            `${random(2) === 0 ? disguised(random, name) : JSON.stringify(name)}:${value(random)}`,
          ),
        ))(of(random, loaded)),
  ],
  ["unknown member", 1, (random) => joined(inserted(random, members(random), `"x":${value(random)}`))],
  ["odd item", 1, (random) => `{"model":"gpt-5.5","input":[${of(random, items)},${value(random)}]}`],
  ["odd value", 3, (random) => value(random)],
  [
    "invalid UTF-8",
    3,
    (random) => {
      const bytes = utf8(joined(members(random)))
      const wrong = of(random, [
        [0xc3],
        [0xed, 0xa0, 0x80],
        [0xf8, 0x88],
        [0xc0, 0xaf],
        [0xff],
        [0xf4, 0x90, 0x80, 0x80],
      ])
      const at = random(bytes.length + 1)
      return Buffer.concat([bytes.subarray(0, at), Uint8Array.from(wrong), bytes.subarray(at)])
    },
  ],
  ["random bytes", 3, (random) => Uint8Array.from({ length: random(200) }, () => random(256))],
  [
    "random JSON characters",
    3,
    (random) => Array.from({ length: random(60) }, () => `{}[]",:\\u0eE-+.1tn `[random(20)] ?? "").join(""),
  ],
  [
    "text around it",
    2,
    (random) =>
      of(random, ["\ufeff", " \n", "\ufeff\ufeff", "\0", "", ","]) +
      joined(members(random)) +
      of(random, ["", " ", "\0", "}", "{}", "\ufeff"]),
  ],
  [
    "many members",
    1,
    (random) => joined([...members(random), ...Array.from({ length: 990 + random(20) }, (_, i) => `"m${i}":0`)]),
  ],
]

const weighted = makers.flatMap((maker) => Array<typeof maker>(maker[1]).fill(maker))

export const fuzzedBody = (seed: number): Fuzzed => {
  const random = makeRandom(seed)
  const [how, , make] = of(random, weighted)
  const made = make(random)
  const body = typeof made === "string" ? utf8(made) : made
  if (random(20) > 0) return { body, encoding: undefined, how }
  const encoding = of(random, [...Object.keys(encoders), "identity", "compress", "gzip, gzip", "GZIP"])
  const encoded = codec(encoders, encoding.toLowerCase())?.(body) ?? body
  const twist = random(4)
  // Cut, not encoded at all, or as it should be. A flipped bit might pass unseen where no checksum stands for it.
  if (twist === 0)
    return { body: encoded.subarray(0, random(encoded.length)), encoding, how: `${how}, ${encoding} cut` }
  return { body: twist === 1 ? body : encoded, encoding, how: `${how}, ${twist === 1 ? "not " : ""}${encoding}` }
}

const refused = (...codes: ReadonlyArray<string>): Verdict => ({ status: 400, codes })

const tokens = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g

/** Names of the object's own members, as decoded, and the deepest nesting, of a text that is JSON. */
const outline = (text: string) => {
  const names: Array<string> = []
  let depth = 0
  let deepest = 0
  let before = ""
  for (const [token] of text.matchAll(tokens)) {
    if (token === "{" || token === "[") deepest = Math.max(deepest, ++depth)
    else if (token === "}" || token === "]") depth--
    else if (token === ":" && depth === 1) names.push(JSON.parse(before) as string)
    before = token
  }
  return { names, deepest }
}

/** What must become of it, found without the proxy's own scanner. `zstd` cut short is told by its length alone. */
export const verdictOf = ({ body, encoding = "identity", how }: Fuzzed): Verdict => {
  const decode =
    encoding.toLowerCase() === "identity" ? (bytes: Uint8Array) => bytes : codec(decoders, encoding.toLowerCase())
  if (decode === undefined) return { status: 415, codes: ["unsupported_content_encoding"] }
  let text: string
  try {
    if (body.length > 0 && how.endsWith("cut") && encoding !== "identity") throw new Error("cut")
    const decoded = body.length === 0 ? body : decode(body)
    try {
      text = new TextDecoder("utf-8", { fatal: true }).decode(decoded)
    } catch {
      return refused("invalid_utf8")
    }
  } catch {
    return refused("invalid_content_encoding")
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Where a text is wrong in two ways either may be told.
    return refused("invalid_json", "too_deep", "too_many_members")
  }
  const { deepest, names } = outline(text)
  if (deepest > 512) return refused("too_deep", "too_many_members")
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refused("not_object")
  if (names.length > 1000) return refused("too_many_members")
  return new Set(names).size < names.length ? refused("duplicate_member") : "upstream"
}
