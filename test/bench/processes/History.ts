/**
 * The items of an agent's conversation, of any size: the user, reasoning with encrypted content, calls and their outputs.
 *
 * Each item is written as `JSON.stringify` writes it, which is what the SDKs do with every request.
 */

/** Lines as tools print them: with quotes, tabs, escapes and characters of two and three bytes. */
const line = (seed: number): string =>
  `${seed % 977}:\tconst value${seed % 97} = await read("src/part-${seed % 389}.ts", { limit: ${seed % 4096} }) // – wie «geplant»\n`

/** A text of about so many bytes once it is JSON. */
const output = (seed: number, bytes: number): string => {
  let text = ""
  for (let i = 0; text.length * 1.1 < bytes; i++) text += line(seed * 31 + i * 7)
  return text
}

const hex = (seed: number): string => (seed * 2_654_435_761).toString(16).padStart(16, "0")

const encrypted = (seed: number): string => {
  let text = "gAAAAABp"
  while (text.length < 900) text += Buffer.from(hex(seed + text.length)).toString("base64url")
  return text
}

/** A first message of the user, unlike all others. */
export const question = (seed: number): string =>
  JSON.stringify({
    type: "message",
    role: "user",
    content: [{ type: "input_text", text: `Question ${seed}: what does part ${seed % 389} of this repository do?` }],
  })

/** What a tool brought back for a call, in about so many bytes. */
export const toolOutput = (callId: string, seed: number, bytes: number): string =>
  JSON.stringify({ type: "function_call_output", call_id: callId, output: output(seed, bytes - 90) })

const step = (seed: number, bytes: number): ReadonlyArray<string> => [
  JSON.stringify({ id: `rs_h${hex(seed)}`, type: "reasoning", summary: [], encrypted_content: encrypted(seed) }),
  JSON.stringify({
    id: `fc_h${hex(seed)}`,
    type: "function_call",
    status: "completed",
    name: "read_file",
    call_id: `call_h${hex(seed)}`,
    arguments: `{"path":"src/part-${seed % 389}.ts","limit":${seed % 4096}}`,
  }),
  toolOutput(`call_h${hex(seed)}`, seed, bytes),
]

/** What a step of the history has besides its tool's output. */
const stepOverhead = 1400
const stepOutput = 3000

/** Items of a history of about so many bytes, behind the user's first message. */
export const historyItems = (bytes: number): ReadonlyArray<string> => {
  const items: Array<string> = []
  for (let size = 0, seed = 1; size + stepOverhead < bytes; seed++) {
    const added = step(seed, Math.max(Math.min(stepOutput, bytes - size - stepOverhead), 100))
    items.push(...added)
    size += added.reduce((sum, item) => sum + item.length + 1, 0)
  }
  return items
}

/** Instructions and tools of about so many bytes, as members of a request. */
export const membersOf = (bytes: number): string => {
  const instructions = "You work through a repository step by step. ".repeat(Math.ceil(bytes / 88))
  const tools = Array.from({ length: Math.floor(bytes / 1000) }, (_, index) => ({
    type: "function",
    name: `tool_${index}`,
    description: `Reads part ${index} of the repository. `.repeat(9),
    parameters: {
      type: "object",
      properties: { path: { type: "string" }, limit: { type: "number" } },
      required: ["path", "limit"],
      additionalProperties: false,
    },
    strict: true,
  }))
  return `"instructions":${JSON.stringify(instructions)},"tools":${JSON.stringify(tools)}`
}
