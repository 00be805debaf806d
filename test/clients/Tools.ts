/**
 * The parameters of the two tools as their users write them, with the keys in another order than the model's.
 */
import { z } from "zod"

export const lookUp = z.object({
  place: z.string(),
  when: z.object({ span: z.object({ ratio: z.number(), hours: z.array(z.number()) }), day: z.number() }),
})

const point = z.object({ x: z.number(), y: z.number() })

export const measure = z.object({
  note: z.string(),
  options: z.object({ deep: z.object({ er: z.object({ none: z.null(), tags: z.array(z.string()) }) }) }),
  points: z.array(point),
})
