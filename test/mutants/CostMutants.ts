/**
 * Small mistakes by which one caller's body, connection or slowness would cost the others something.
 */
import type { MutantOfTheWhole } from "./Mutants.ts"

const by =
  (...noticedBy: readonly [string, ...ReadonlyArray<string>]) =>
  (name: string, file: string, find: string, replace: string): MutantOfTheWhole => ({
    name,
    file,
    find,
    replace,
    noticedBy,
  })

export const ofCosts: ReadonlyArray<MutantOfTheWhole> = [
  by("test/upstream/dialer/SendQueue.test.ts")(
    "pieces-are-all-made-at-once",
    "src/upstream/dialer/SendQueue.ts",
    `if (written >= piecesAtOnce && `,
    `if (written < 0 && `,
  ),
  by("test/upstream/dialer/DialerBun.test.ts")(
    "large-message-is-one-piece",
    "src/upstream/dialer/DialerBun.ts",
    `if (payload.length <= pieceSize) return`,
    `if (payload.length >= 0) return`,
  ),
  by("test/upstream/dialer/FrameWriter.test.ts")(
    "last-piece-is-lost",
    "src/upstream/dialer/FrameWriter.ts",
    `if (at >= length) return undefined`,
    `if (at + pieceSize > length) return undefined`,
  ),
  by("test/wire/Steps.test.ts")(
    "message-is-copied-at-once",
    "src/wire/Frame.ts",
    `if (this.#inStep + end - start > copyStep) return`,
    `if (this.#inStep < 0) return`,
  ),
]
