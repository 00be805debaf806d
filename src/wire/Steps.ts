/**
 * Work on one body as steps, each as long as `stepSize` bytes take: between two of them whoever runs it may see to others.
 *
 * A step ends with a `yield`. What is small has one step, so that it costs no more than a call.
 */
export type Steps<A> = Generator<undefined, A, undefined>

/** How many bytes one step reads, where reading is quick. What takes longer for its size counts as more. */
export const stepSize = 1 << 17

/** Does all of it at once: for what is known to be small, or where nothing else waits. */
export const atOnce = <A>(steps: Steps<A>): A => {
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}
