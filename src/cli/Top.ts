/**
 * The command `top`: shows what goes on in the running proxy, in a terminal, until it is told to stop.
 */
import { Console, Effect, Option, Stream } from "effect"
import type { Frame } from "../observe/live/Frame.ts"
import { getAsOperator, layer, NotAnswered, origin } from "./Running.ts"
import type { Seen } from "./top/TopScreen.ts"
import { after, screen } from "./top/TopScreen.ts"

const ended = new NotAnswered({ message: "the proxy has ended what it told" })

/** Where nobody looks, as in a script, a frame has all of its lines. */
const unbounded = { rows: 200, columns: 400 }

const sizeNow = () => {
  const { columns, rows } = process.stdout
  return process.stdout.isTTY ? { rows: (rows ?? 25) - 1, columns: columns ?? 80 } : unbounded
}

export const top = Effect.fnUntraced(function* ({ once }: { readonly once: boolean }) {
  const from = yield* origin
  const answer = yield* getAsOperator("/_respool/events")
  const write = (text: string) => Effect.sync(() => void process.stdout.write(text))
  let seen: Seen | undefined
  const frames = answer.stream.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter((line) => line.startsWith("data: ")),
    Stream.map((line) => {
      seen = after(seen, JSON.parse(line.slice("data: ".length)) as Frame)
      return screen(seen, from, sizeNow())
    }),
    Stream.mapError(() => ended),
  )
  if (once) {
    const first = yield* Stream.runHead(frames)
    return yield* Option.match(first, {
      onNone: () => Effect.fail(ended),
      onSome: (lines) => Console.log(lines.join("\n")),
    })
  }
  if (!process.stdout.isTTY) {
    yield* Stream.runForEach(frames, (lines) => Console.log(`${lines.join("\n")}\n`))
    return yield* ended
  }
  // The other screen, from its top, each line cleared behind what is written; at the end the first one is back as it was.
  yield* Effect.acquireUseRelease(
    write("\x1b[?1049h\x1b[?25l"),
    () => Stream.runForEach(frames, (lines) => write(`\x1b[H${lines.join("\x1b[K\r\n")}\x1b[K\x1b[J`)),
    () => write("\x1b[?25h\x1b[?1049l"),
  )
  return yield* ended
}, Effect.provide(layer))
