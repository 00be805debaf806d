/**
 * Mistakes in what a program takes of respool without a proxy.
 */
import type { MutantOfTheWhole } from "./Mutants.ts"

export const ofTheLibrary: ReadonlyArray<MutantOfTheWhole> = [
  {
    name: "repeated-by-effects-policies",
    file: "src/PooledClient.ts",
    find: `  if (status < 400 || headers.get("x-should-retry") !== "false") return response`,
    replace: `  if (status < 600) return response`,
    noticedBy: ["test/PooledClient.test.ts"],
  },
  {
    name: "forbids-what-was-refused",
    file: "src/PooledClient.ts",
    find: ` || headers.get("x-should-retry") !== "false") return response`,
    replace: `) return response`,
    noticedBy: ["test/PooledClient.test.ts"],
  },
  {
    name: "aborted-answer-runs-on",
    file: "src/downstream/fetch/WebTurn.ts",
    find: `          void reader.cancel(signal.reason)`,
    replace: ``,
    noticedBy: ["test/PooledClient.test.ts"],
  },
  {
    name: "wrong-settings-look-like-the-network",
    file: "src/Fetch.ts",
    find: `      return unopened(error)`,
    replace: `      throw error`,
    noticedBy: ["test/Fetch.test.ts"],
  },
  {
    name: "no-bound-before-the-pool",
    file: "src/Fetch.ts",
    find: `    if (early.size < maxAddresses) early.add(key)`,
    replace: `    early.add(key)`,
    noticedBy: ["test/Fetch.test.ts"],
  },
  {
    name: "bound-by-address-of-one-upstream",
    file: "src/downstream/fetch/WebTurn.ts",
    find: `namesUpstream(settings) ? () => "" : (address) => address`,
    replace: `(address) => address`,
    noticedBy: ["test/Fetch.test.ts"],
  },
  {
    name: "two-clients-one-pool",
    file: "src/Fronts.ts",
    find: `Layer.buildWithMemoMap(layer, Layer.makeMemoMapUnsafe(), scope)`,
    replace: `Layer.buildWithScope(layer, scope)`,
    noticedBy: ["test/PooledClient.test.ts"],
  },
  {
    name: "two-proxies-one-pool",
    file: "src/Whole.ts",
    find: `Layer.buildWithMemoMap(whole, Layer.makeMemoMapUnsafe(), scope)`,
    replace: `Layer.buildWithScope(Layer.fresh(whole), scope)`,
    noticedBy: ["test/Whole.test.ts"],
  },
]
