/**
 * Small mistakes between the nodes of a cluster: what is taken twice, sent twice, or believed without a proof.
 */
import type { MutantOfTheWhole } from "./Mutants.ts"

const parts = ["test/cluster/Parts.test.ts"]
const forward = ["test/cluster/Forward.test.ts"]
const tenants = ["test/cluster/Tenants.test.ts"]

export const forClusters: ReadonlyArray<MutantOfTheWhole> = [
  {
    name: "label-of-a-stranger-is-believed",
    file: "src/cluster/sealed/Sealing.ts",
    find: `    if (mark.length !== expected.length || !timingSafeEqual(mark, expected)) return undefined`,
    replace: `    if (mark.length !== expected.length) return undefined`,
    noticedBy: parts,
  },
  {
    name: "body-of-a-turn-is-not-sealed",
    file: "src/cluster/sealed/Sealing.ts",
    find: `    cipher.setAAD(body.subarray(at, at + pieceSize))`,
    replace: `    body.subarray(at, at + pieceSize)`,
    noticedBy: parts,
  },
  {
    name: "number-far-behind-is-taken",
    file: "src/cluster/sealed/Sequences.ts",
    find: `if (sequence <= this.#highest - width || sequence < 1) return false`,
    replace: `if (sequence < 1) return false`,
    noticedBy: parts,
  },
  {
    name: "nodes-know-callers-by-other-scopes",
    file: "src/Server.ts",
    find: `scopeKey === undefined ? AuthScope.layerPassthrough : AuthScope.layerPassthroughUnder(scopeKey)`,
    replace: `scopeKey === null ? AuthScope.layerPassthroughUnder(scopeKey) : AuthScope.layerPassthrough`,
    noticedBy: forward,
  },
  {
    name: "ids-of-another-node-are-free",
    file: "src/downstream/tenants/Ownership.ts",
    find: `isNoted && unknown.size < maxAsked`,
    replace: `!isNoted && unknown.size < maxAsked`,
    noticedBy: tenants,
  },
  {
    name: "response-in-a-path-is-asked-about-nowhere",
    file: "src/downstream/tenants/Ownership.ts",
    find: `if (ask !== undefined && ledger.ownerOf(id) === undefined) yield* learn(ask, new Set([id]))`,
    replace: ``,
    noticedBy: tenants,
  },
  {
    name: "any-listener-is-a-node",
    file: "src/cluster/sealed/Hello.ts",
    find: `  if (!isSameMark(mark, sealing.helloMark(\`answer \${nonce} \${text}\`))) return undefined
`,
    replace: ``,
    noticedBy: ["test/cluster/Examine.test.ts"],
  },
  {
    name: "conversation-without-a-name-stays",
    file: "src/cluster/Placement.ts",
    find: `  return beginning === undefined ? here : inScope(scope, "beginning", beginning)`,
    replace: `  return beginning === undefined ? here : inScope(scope, "beginning", turn.turnId)`,
    noticedBy: forward,
  },
]
