/**
 * The standard input of one of the benchmark's processes: lines of JSON, and the sign to end.
 */

/** Ends the process with its standard input, so that it never outlives the one that started it. */
export const endWithInput = (): void => {
  process.stdin.on("end", () => process.exit(0))
  process.stdin.resume()
}

export async function* inputLines(): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ""
  for await (const chunk of Bun.stdin.stream()) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n")
    rest = lines.pop() ?? ""
    yield* lines
  }
}
