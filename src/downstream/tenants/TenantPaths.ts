/**
 * The paths that exist where many tenants share one upstream account (docs/operate.md, Who is asking): responses,
 * compact and models.
 *
 * Everything else of the API reaches what the account holds (files, containers, batches of others), so it does not exist.
 */

/** A path that exists; `responseId` is the id it names, which must be the caller's own. */
export interface TenantPath {
  readonly responseId: string | undefined
  /** Its JSON body may hold ids, and its answer makes some. */
  readonly compact: boolean
}

/** `path` is below the base URL, without the query: `/responses/compact`. */
export const tenantPath = (method: string, path: string): TenantPath | undefined => {
  const [, root, id, rest, ...more] = path.split("/")
  if (more.length > 0) return undefined
  if (root === "models" && (method === "GET" || method === "HEAD") && rest === undefined) {
    return id === undefined || modelName.test(decoded(id)) ? { responseId: undefined, compact: false } : undefined
  }
  if (root !== "responses" || id === undefined || id === "") return undefined
  if (id === "compact") {
    return method === "POST" && rest === undefined ? { responseId: undefined, compact: true } : undefined
  }
  const known =
    (rest === undefined && (method === "GET" || method === "DELETE")) ||
    (rest === "input_items" && method === "GET") ||
    (rest === "cancel" && method === "POST")
  return known ? { responseId: decoded(id), compact: false } : undefined
}

/** No slash and no percent sign, which an upstream that decodes late would take for steps to another path. */
const modelName = /^(?!\.\.?$)[\w.:@+~-]+$/

/** A part of a path that does not decode names nothing anybody owns. */
const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return ""
  }
}
