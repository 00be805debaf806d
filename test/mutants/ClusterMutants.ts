/**
 * Small mistakes between the nodes of a cluster: what is taken twice, sent twice, or believed without a proof.
 */
import type { MutantOfTheWhole } from "./Mutants.ts"

const failure = ["test/cluster/Failure.test.ts"]
const parts = ["test/cluster/Parts.test.ts"]
const forward = ["test/cluster/Forward.test.ts"]
const tenants = ["test/cluster/Tenants.test.ts"]

export const forClusters: ReadonlyArray<MutantOfTheWhole> = [
  {
    name: "request-of-a-node-is-taken-again",
    file: "src/cluster/sealed/Admission.ts",
    find: `if (!this.#sequences.take(label.from, label.sequence)) return refuse(409, takenBefore)`,
    replace: `this.#sequences.take(label.from, label.sequence)`,
    noticedBy: failure,
  },
  {
    name: "turn-of-a-node-is-taken-again",
    file: "src/cluster/Owner.ts",
    find: `if (!isNew(envelope.turnId)) return refuse(409, takenBefore)`,
    replace: `isNew(envelope.turnId)`,
    noticedBy: failure,
  },
  {
    name: "request-for-a-process-before-is-taken",
    file: "src/cluster/sealed/Admission.ts",
    find: `if (label.to !== sealing.bootId) return refuse(409, "owner_restarted")`,
    replace: ``,
    noticedBy: failure,
  },
  {
    name: "node-that-stops-takes-turns",
    file: "src/cluster/Owner.ts",
    find: `    draining = true`,
    replace: ``,
    noticedBy: failure,
  },
  {
    name: "label-of-a-stranger-is-believed",
    file: "src/cluster/sealed/Sealing.ts",
    find: `    if (mark.length !== expected.length || !timingSafeEqual(mark, expected)) return undefined`,
    replace: `    if (mark.length !== expected.length) return undefined`,
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
    name: "owner-that-is-silent-is-waited-for",
    file: "src/cluster/Silence.ts",
    find: `one.clientTimeout / tick : patience`,
    replace: `one.clientTimeout / tick : patience * 100`,
    noticedBy: failure,
  },
  {
    name: "turn-of-a-lost-owner-runs-again",
    file: "src/cluster/Handover.ts",
    find: `if (!this.#isTaken && noPeer.test(codeOf(cause))) {`,
    replace: `if (codeOf(cause) !== "") {`,
    noticedBy: failure,
  },
  {
    name: "node-that-lost-a-turn-stays-in-the-ring",
    file: "src/cluster/Nodes.ts",
    find: `      one.boot = undefined
      fork(change(one, "gone"))`,
    replace: `      one.boot = undefined`,
    noticedBy: failure,
  },
  {
    name: "client-that-leaves-holds-the-owner",
    file: "src/cluster/Handover.ts",
    find: `    this.#end()
    this.#abort.abort()`,
    replace: `    this.#end()`,
    noticedBy: failure,
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
  {
    name: "a-node-stops-without-a-word",
    file: "src/cluster/Owner.ts",
    find: `    draining = true
    return takeLeave`,
    replace: `    draining = true
    return Effect.void`,
    noticedBy: forward,
  },
  {
    name: "anybody-may-say-that-a-node-stops",
    file: "src/cluster/sealed/Hello.ts",
    find: `  return isSameMark(mark, sealing.helloMark(\`leave \${nonce} \${name}\`)) ? name : undefined`,
    replace: `  return nonce === "" && mark === "" && name === "" ? undefined : name`,
    noticedBy: failure,
  },
  {
    name: "pieces-of-an-answer-have-no-number",
    file: "src/cluster/sealed/Answers.ts",
    find: `nonce.writeUIntBE(count++, 0, 6)`,
    replace: `nonce.writeUIntBE(count, 0, 6)`,
    noticedBy: parts,
  },
  {
    name: "a-changed-piece-of-an-answer-is-read",
    file: "src/cluster/sealed/Answers.ts",
    find: `      return opened
    } catch {
      return undefined`,
    replace: `      return opened
    } catch {
      return opened`,
    noticedBy: failure,
  },
  {
    name: "a-changed-body-of-a-request-is-read",
    file: "src/cluster/sealed/Sealing.ts",
    find: `      return { secret, body: rest }
    } catch {
      return undefined`,
    replace: `      return { secret, body: rest }
    } catch {
      return { secret, body: rest }`,
    noticedBy: parts,
  },
  {
    name: "the-last-who-claims-a-session-has-it",
    file: "src/cluster/places/Directory.ts",
    find: `before !== undefined && (before === claims || lives(before)) ? before : claims`,
    replace: `before !== undefined && before === claims ? before : claims`,
    noticedBy: parts,
  },
  {
    name: "a-new-keeper-is-not-told-who-had-a-session",
    file: "src/cluster/places/Places.ts",
    find: `known !== undefined && lives(known.holder) ? known.holder : self`,
    replace: `self`,
    noticedBy: forward,
  },
  {
    name: "a-keeper-is-not-asked",
    file: "src/cluster/places/Places.ts",
    find: `const holder = (yield* ask(key, keeper, claims)) ?? claims`,
    replace: `const holder = (yield* Effect.as(ask(key, keeper, claims), undefined)) ?? claims`,
    noticedBy: forward,
  },
]
