/**
 * The paths that exist where many tenants share one upstream account (docs/operate.md, Who is asking): responses,
 * compact and models.
 *
 * All other paths of the API reach files, containers and batches of other tenants, so they do not exist.
 */

/** A path that exists; `responseId` is the id it names, which must belong to the caller. */
export interface TenantPath {
  readonly responseId: string | undefined
  /** True: the JSON body may hold ids, and the answer makes some. */
  readonly compact: boolean
  /** The answer may be the first to show ids that the upstream made, as that of a turn in the background is. */
  readonly makesIds: boolean
}

const noIds = { compact: false, makesIds: false }

/** `path` is below the base URL, without the query: `/responses/compact`. */
export const tenantPath = (method: string, path: string): TenantPath | undefined => {
  const [, root, id, rest, ...more] = path.split("/")
  if (more.length > 0) return undefined
  if (root === "models" && (method === "GET" || method === "HEAD") && rest === undefined) {
    return id === undefined || modelName.test(decoded(id)) ? { ...noIds, responseId: undefined } : undefined
  }
  if (root !== "responses" || id === undefined || id === "") return undefined
  if (id === "compact") {
    return method === "POST" && rest === undefined
      ? { responseId: undefined, compact: true, makesIds: true }
      : undefined
  }
  const known =
    (rest === undefined && (method === "GET" || method === "DELETE")) ||
    (rest === "input_items" && method === "GET") ||
    (rest === "cancel" && method === "POST")
  return known ? { responseId: decoded(id), compact: false, makesIds: rest !== "input_items" } : undefined
}

/** A model's name without slash and percent sign, by which an upstream that decodes late would get to another path. */
const modelName = /^(?!\.\.?$)[\w.:@+~-]+$/

/** A part of a path, decoded. One that does not decode becomes an id that does not exist. */
const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return ""
  }
}
