/**
 * Small mistakes in what operators rely on: settings, the command line, the listener, keys.
 */
import type { MutantOfTheWhole } from "./Mutants.ts"

export const forOperators: ReadonlyArray<MutantOfTheWhole> = [
  {
    name: "service-of-kubernetes-sets-the-port",
    file: "src/config/Settings.ts",
    find: `withoutNames(environment, ofKubernetes)`,
    replace: `withoutNames(environment, ofKubernetes.slice(0, 0))`,
    noticedBy: ["test/config/Settings.test.ts"],
  },
  {
    name: "no-proxy-overrules-the-settings",
    file: "src/config/ProxyRules.ts",
    find: `  if (ofUpstream !== undefined) return isDirect(ofUpstream) ? undefined : ofUpstream`,
    replace: `  if (ofUpstream !== undefined && isDirect(ofUpstream)) return undefined`,
    noticedBy: ["test/config/ProxyRules.test.ts"],
  },
  {
    name: "no-login-stops-the-start",
    file: "src/upstream/credential/CheckFiles.ts",
    find: `_tag === "CodexAuth" && isAbsent && !isHomeless`,
    replace: `_tag === "CodexAuth" && isAbsent && isHomeless`,
    noticedBy: ["test/proxy/Refresh.test.ts"],
  },
  {
    name: "drain-forgets-what-streams",
    file: "src/downstream/http/BunServer.ts",
    find: `Effect.andThen(FiberSet.awaitEmpty(fibers), answered)`,
    replace: `Effect.andThen(FiberSet.awaitEmpty(fibers), Effect.sync(() => answered))`,
    noticedBy: ["test/downstream/http/BunServer.test.ts"],
  },
  {
    name: "replaced-socket-waits-for-the-sweep",
    file: "src/upstream/pool/Evictor.ts",
    find: `else if (isReplaced(connection)) connection.evict("replaced", "")`,
    replace: ``,
    noticedBy: ["test/Reload.test.ts"],
  },
  {
    name: "certificate-is-not-tried-first",
    file: "src/downstream/http/Listener.ts",
    find: `      const trial = yield* serve(0, tls)`,
    replace: `      const trial = yield* serve(0, shown)`,
    noticedBy: ["test/CertificateReload.test.ts"],
  },
  {
    name: "key-file-open-to-others",
    file: "src/config/UpstreamFile.ts",
    find: `  if (isOpenToOthers(mode)) {`,
    replace: `  if (isOpenToOthers(mode & 0o077 & ~0o060)) {`,
    noticedBy: ["test/config/Mistakes.test.ts"],
  },
  {
    name: "two-keys-of-one-name",
    file: "src/downstream/auth/KeysFile.ts",
    find: `    existing.some((key) => key.name === name)`,
    replace: `    existing.some((key) => key.name === name && key.user === user)`,
    noticedBy: ["test/downstream/auth/Keys.test.ts"],
  },
  {
    name: "upstream-of-another-port-is-the-proxy",
    file: "src/config/Address.ts",
    find: `  if (port === 0 || its !== port) return false`,
    replace: `  if (port === 0) return false`,
    noticedBy: ["test/proxy/Loops.test.ts"],
  },
  {
    name: "header-that-is-named-stays",
    file: "src/upstream/http/ClientHeaders.ts",
    find: `(ofTheWay.test(name) && !forwarded.includes(name))`,
    replace: `(ofTheWay.test(name) && forwarded !== undefined)`,
    noticedBy: ["test/upstream/http/ClientHeaders.test.ts"],
  },
  {
    name: "api-key-is-a-scheme",
    file: "src/downstream/auth/AuthScope.ts",
    find: `digest("api-key:", key)`,
    replace: `digest("api-key", key)`,
    noticedBy: ["test/downstream/auth/AuthScope.test.ts"],
  },
  {
    name: "backend-is-not-asked-as-codex-asks",
    file: "src/upstream/http/Forwarding.ts",
    find: `upstream.known.codex ? asCodex(request.path) : request.path`,
    replace: `request.path`,
    noticedBy: ["test/proxy/Upstreams.test.ts"],
  },
  {
    name: "near-without-an-opening",
    file: "src/turn/memory/Near.ts",
    find: `  if (!beginsAlike && !(inSession && inAffinity)) return undefined`,
    replace: ``,
    noticedBy: ["test/turn/memory/Near.test.ts"],
  },
  {
    name: "first-turn-taken-for-an-edit",
    file: "src/turn/memory/Near.ts",
    find: `  if (lineage.lastSaid < 0) return undefined`,
    replace: ``,
    noticedBy: ["test/turn/memory/Near.test.ts"],
  },
  {
    name: "near-to-the-one-that-shares-least",
    file: "src/turn/memory/Near.ts",
    find: `? one.shared > other.shared :`,
    replace: `? one.shared < other.shared :`,
    noticedBy: ["test/turn/memory/Near.test.ts"],
  },
  {
    name: "left-out-reasoning-taken-for-an-edit",
    file: "src/turn/memory/Near.ts",
    find: `    else if (policy === "lenient" && isOfReasoning(mark)) leftOut ??= at
`,
    replace: ``,
    noticedBy: ["test/turn/memory/Near.test.ts"],
  },
  {
    name: "busy-chain-not-told",
    file: "src/turn/memory/TurnMemory.ts",
    find: `    if (recall(key, lineage, policy).length > 0) return { reason: "chain_busy" }
`,
    replace: ``,
    noticedBy: ["test/turn/memory/Near.test.ts"],
  },
  {
    name: "marks-without-the-known-head",
    file: "src/turn/memory/Trail.ts",
    find: `  trail.set(first.subarray(0, Math.min(firstItem, trail.length)))
`,
    replace: ``,
    noticedBy: ["test/proxy/Reasons.test.ts"],
  },
  {
    name: "detail-of-another-reason",
    file: "src/turn/attempt/Horizon.ts",
    find: `reason: because, changed: undefined }`,
    replace: `reason: because }`,
    noticedBy: ["test/turn/attempt/Horizon.test.ts"],
  },
]
