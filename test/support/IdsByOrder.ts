/**
 * Makes two runs of one conversation comparable, of which each has ids of its own.
 */

/** Every id by what `name` calls it and the place at which it first appears among them. */
export const idsByOrder = (
  text: string,
  ids: RegExp,
  name: (...kinds: ReadonlyArray<string | undefined>) => string = () => "id",
): string => {
  const seen = new Map<string, string>()
  return text.replaceAll(ids, (id: string, ...kinds: ReadonlyArray<string | undefined>) => {
    const called = seen.get(id) ?? `${name(...kinds)} ${seen.size}`
    seen.set(id, called)
    return called
  })
}
