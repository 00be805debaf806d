/**
 * Small mistakes, each a text of the sources and what stands there instead. The tests must notice every one of them.
 *
 * A text is found once in its file, and stays so when lines around it move; `Mutants.test.ts` holds that in every run of
 * the tests, and `bun run mutants` plants them.
 */
import { forClusters } from "./ClusterMutants.ts"
import { ofCosts } from "./CostMutants.ts"
import { ofTheLibrary } from "./LibraryMutants.ts"
import { forOperators } from "./OperatorMutants.ts"

export interface Mutant {
  readonly name: string
  readonly file: string
  /** As it stands in the file, once. */
  readonly find: string
  readonly replace: string
}

const mutant = (name: string, file: string, find: string, replace: string): Mutant => ({ name, file, find, replace })

/** Of what a turn means: matching, plan, memory. */
export const ofTurns: ReadonlyArray<Mutant> = [
  mutant(
    "long-strings-all-equal",
    "src/wire/Condensed.ts",
    '    add(encoder.encode(`"long:${yield* digester.text(bytes, text)}"`))',
    '    add(encoder.encode(`"long:${(yield* digester.text(bytes, text)).length}"`))',
  ),
  mutant(
    "always-lenient-further-back",
    "src/turn/memory/Checkpoint.ts",
    `  const allLeftOut = policy === "lenient" && prefix.reasoning === undefined`,
    `  const allLeftOut = prefix.reasoning === undefined`,
  ),
  mutant(
    "always-lenient",
    "src/turn/memory/Matching.ts",
    `    else if (item.kind !== "reasoning" || policy === "strict") return { at, differs: true }`,
    `    else if (item.kind !== "reasoning") return { at, differs: true }`,
  ),
  mutant(
    "any-anchor-fits",
    "src/turn/memory/Plan.ts",
    `    return lineage.anchor !== undefined && checkpoint?.responseId === lineage.anchor`,
    `    return lineage.anchor !== undefined && checkpoint !== undefined`,
  ),
  mutant(
    "any-reference-fits",
    "src/turn/memory/Matching.ts",
    `  if (item.kind === "reference") return item.id !== undefined && item.id === recorded.id ? 1 : 0`,
    `  if (item.kind === "reference") return item.id !== undefined ? 1 : 0`,
  ),
  mutant(
    "arguments-as-text",
    "src/wire/Item.ts",
    `  if (Result.isFailure(scanObject(encoder.encode(text), { isUtf8: true }))) return digester.item(bytes, member)`,
    `  if (text !== "") return digester.item(bytes, member)`,
  ),
  mutant(
    "encrypted-content-ignored",
    "src/turn/memory/Matching.ts",
    `  if (differs(a.encrypted, b.encrypted) || differs(a.summary, b.summary) || differs(a.content, b.content)) return false`,
    `  if (differs(a.summary, b.summary) || differs(a.content, b.content)) return false`,
  ),
  mutant(
    "first-text-is-enough",
    "src/turn/memory/Matching.ts",
    `  } while (found < recorded.parts.length)`,
    `  } while (found < 1 && found < recorded.parts.length)`,
  ),
  mutant(
    "head-known-by-its-end",
    "src/turn/memory/BodyHeads.ts",
    `        if (left < 0 || tagOf(bytes, start, end) !== tag) return false`,
    `        if (left < 0 || tagOf(bytes, start, end).length !== tag.length) return false`,
  ),
  mutant("known-items-not-counted", "src/wire/RequestBody.ts", `    firstItem: head?.items ?? 0,`, `    firstItem: 0,`),
  mutant(
    "known-prefix-forgotten",
    "src/turn/memory/Lineage.ts",
    `  const first = known ?? noPrefix(digester.root)`,
    `  const first = noPrefix(digester.root)`,
  ),
  mutant(
    "lenient-with-any-reasoning",
    "src/turn/memory/Checkpoint.ts",
    `  const allLeftOut = policy === "lenient" && prefix.reasoning === undefined`,
    `  const allLeftOut = policy === "lenient"`,
  ),
  mutant(
    "members-forgotten",
    "src/turn/memory/Plan.ts",
    `  if (checkpoint.members !== lineage.members) return full("members_changed")`,
    ``,
  ),
  mutant(
    "message-may-be-missing",
    "src/turn/memory/Matching.ts",
    `    else if (item.kind !== "reasoning" || policy === "strict") return { at, differs: true }`,
    `    else if ((item.kind !== "reasoning" && item.kind !== "message") || policy === "strict") return { at, differs: true }`,
  ),
  mutant(
    "nothing-new-continued",
    "src/turn/memory/Plan.ts",
    `  if (from === itemsIn(lineage)) return full("nothing_new")`,
    ``,
  ),
  mutant(
    "null-is-not-absent",
    "src/turn/memory/Members.ts",
    `    if (span === undefined || body.bytes[span.start] === 0x6e) {`,
    `    if (span === undefined) {`,
  ),
  mutant(
    "numbers-as-doubles",
    "src/wire/JsonNumber.ts",
    `        i = end`,
    `        plain += text.slice(copied, i) + String(Number(text.slice(i, end)))
        i = copied = end`,
  ),
  mutant(
    "one-item-too-early",
    "src/turn/memory/Checkpoint.ts",
    `  const from = prefix.end + consumed`,
    `  const from = prefix.end + Math.max(0, consumed - 1)`,
  ),
  mutant(
    "one-item-too-late",
    "src/turn/memory/Checkpoint.ts",
    `  const from = prefix.end + consumed`,
    `  const from = prefix.end + consumed + 1`,
  ),
  mutant(
    "only-lengths-compared",
    "src/turn/memory/Checkpoint.ts",
    `  if (input === undefined || prefix === undefined || prefix.digest !== input.digest) return undefined`,
    `  if (input === undefined || prefix === undefined) return undefined`,
  ),
  mutant(
    "only-the-last-item-compared",
    "src/turn/memory/Lineage.ts",
    `      const digest = digester.rolling(last.digest, item.form)`,
    `      const digest = digester.rolling(undefined, item.form)`,
  ),
  mutant(
    "parts-in-any-order",
    "src/turn/memory/Matching.ts",
    `    for (const part of message.parts) if (part !== recorded.parts[found++]) return inOnePiece`,
    `    for (const part of message.parts) if (!recorded.parts.includes(part) || found++ >= recorded.parts.length) return inOnePiece`,
  ),
  mutant(
    "phase-ignored",
    "src/turn/memory/Matching.ts",
    `    message.frame === recorded.frame &&
    (message.phase === undefined || message.phase === recorded.phase)`,
    `    message.frame === recorded.frame`,
  ),
  mutant(
    "place-of-reasoning-forgotten",
    "src/turn/memory/Lineage.ts",
    `      reasoning = digester.rolling(reasoning, \`\${last.count} \${item.form}\`)`,
    `      reasoning = digester.rolling(reasoning, item.form)`,
  ),
  mutant(
    "strange-model-items-continued",
    "src/turn/memory/Lineage.ts",
    `findLastIndex(({ fromModel, kind }) => fromModel || kind === "reference")`,
    `findLastIndex(({ kind }) => kind === "reference")`,
  ),
  mutant(
    "byte-order-mark-skipped",
    "src/wire/Item.ts",
    `if (!text.isWellFormed() || text.startsWith(byteOrderMark)) return`,
    `if (!text.isWellFormed()) return`,
  ),
  mutant(
    "call-ids-ignored",
    "src/wire/ItemRules.ts",
    `      case "internal_chat_message_metadata_passthrough":`,
    `      case "call_id":
      case "internal_chat_message_metadata_passthrough":`,
  ),
  mutant(
    "delta-taken-for-the-whole",
    "src/turn/memory/Checkpoint.ts",
    `  if (!lineage.chains) return lineage.prefixes.at(-1)`,
    `  if (!lineage.chains || lineage.anchor !== undefined) return lineage.prefixes.at(-1)`,
  ),
  mutant(
    "end-in-reasoning-marked",
    "src/turn/memory/Checkpoint.ts",
    `  if (!lineage.comparable || lineage.prefixes.at(-1)?.end !== itemsIn(lineage)) return undefined`,
    `  if (!lineage.comparable) return undefined`,
  ),
  mutant(
    "growing-item-remembered",
    "src/wire/RequestBody.ts",
    `|| !isClosed(body.bytes[last.end - 1])) return`,
    `) return`,
  ),
  mutant(
    "halves-of-pairs-are-their-escapes",
    "src/wire/Item.ts",
    `  const text = decodeString(bytes, member.start, member.end)
  if`,
    `  const text = decodeString(bytes, member.start, member.end).replace(
    /[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]/g,
    (half) => \`\\\\u\${half.charCodeAt(0).toString(16)}\`,
  )
  if`,
  ),
  mutant("halves-of-pairs-lost-in-arguments", "src/wire/Item.ts", `if (!text.isWellFormed() || text`, `if (text`),
  mutant(
    "halves-of-pairs-lost-in-references",
    "src/wire/Item.ts",
    `digester.rolling("reference", digester.value(bytes, reference))`,
    `digester.rolling("reference", id ?? "")`,
  ),
  mutant(
    "halves-of-pairs-joined",
    "src/wire/Item.ts",
    `    if (!piece.isWellFormed()) return undefined
`,
    ``,
  ),
  mutant(
    "id-that-hydrates-ignored",
    "src/wire/ItemRules.ts",
    `const hydrates = named(undefined,`,
    `const hydrates = named("type" as "content",`,
  ),
  mutant(
    "id-of-a-message-without-content-ignored",
    "src/wire/Item.ts",
    `hasContent ? messageFrame : emptyMessageFrame`,
    `messageFrame`,
  ),
  mutant(
    "id-of-a-long-reference-ignored",
    "src/wire/Item.ts",
    `type === "item_reference" ? notNull : filter`,
    `type === "item_reference" ? callFilter(false, true, 0) : filter`,
  ),
  mutant(
    "writer-of-a-long-reference-ignored",
    "src/wire/Item.ts",
    `type === "item_reference" ? notNull : filter`,
    `filter`,
  ),
  mutant(
    "null-in-arguments-dropped",
    "src/wire/Item.ts",
    `  return digester.value(plain, { start: 0, end: plain.length })
}

const emptyList`,
    `  return digester.value(plain, { start: 0, end: plain.length }, notNull)
}

const emptyList`,
  ),
  mutant(
    "null-in-data-dropped",
    "src/wire/ItemRules.ts",
    `    if (depth > 0) return true
    if (isNull(bytes, start) || apart.has(key)) return false`,
    `    if (depth > 0) return !isNull(bytes, start)
    if (isNull(bytes, start) || apart.has(key)) return false`,
  ),
  mutant(
    "odd-anchor-replaced",
    "src/turn/memory/Plan.ts",
    `  if (lineage.chains) {`,
    `  if (lineage.anchor !== undefined) {`,
  ),
  mutant(
    "role-ignored",
    "src/wire/Item.ts",
    `apart: new Set(["type", "content"])`,
    `apart: new Set(["type", "role", "content"])`,
  ),
  mutant(
    "sign-of-zero-lost",
    "src/wire/JsonNumber.ts",
    "  if (start === end) return `${sign}0`",
    `  if (start === end) return "0"`,
  ),
  mutant(
    "silent-at-every-depth",
    "src/wire/ItemRules.ts",
    `    if (depth > 0) return true
    if (isNull(bytes, start) || apart.has(key)) return false`,
    `    if (depth > 0) return key !== "id" && key !== "status"
    if (isNull(bytes, start) || apart.has(key)) return false`,
  ),
  mutant(
    "status-of-a-patch-ignored",
    "src/wire/ItemRules.ts",
    `  apply_patch_call_output: { named: "call_id", status: "counts",`,
    `  apply_patch_call_output: { named: "call_id", status: "completed is silent",`,
  ),
  mutant(
    "status-ignored",
    "src/wire/ItemRules.ts",
    `        return statusCounts || !isString(bytes, start) || decodeString(bytes, start, end) !== "completed"`,
    `        return false && end > start`,
  ),
]

/** Of the pool's life cycle. */
export const ofThePool: ReadonlyArray<Mutant> = [
  mutant(
    "age-not-checked-at-lease",
    "src/upstream/pool/Roster.ts",
    `    if (isOld) connection.evict("age", "")
    else if (`,
    `    if (`,
  ),
  mutant(
    "checkpoint-lost",
    "src/turn/memory/TurnMemory.ts",
    `    const before = entries.get(chain)
`,
    `    const before = entries.get(chain)
    if (before !== undefined) return forget(chain)
`,
  ),
  mutant(
    "checkpoint-outlives-connection",
    "src/turn/memory/TurnMemory.ts",
    `    attach: (chain) => Effect.addFinalizer(() => Effect.sync(() => forget(chain))),`,
    `    attach: () => Effect.void,`,
  ),
  mutant(
    "closes-what-it-could-use",
    "src/upstream/pool/Roster.ts",
    `      () => suiting(all),`,
    `      () => undefined,`,
  ),
  mutant(
    "no-share",
    "src/upstream/pool/Roster.ts",
    `() => !scopeFull() && this.#takeShare(scope),`,
    `() => !scopeFull() && scope === "" && this.#takeShare(scope),`,
  ),
  mutant(
    "more-than-a-share",
    "src/upstream/pool/FairShare.ts",
    `  if (connections > 0 && connections + 1 > share) return undefined`,
    ``,
  ),
  mutant(
    "close-while-idle-ignored",
    "src/upstream/pool/Connection.ts",
    `  onClose(code: number) {`,
    `  onClose(code: number) {
    if (this.idleSince !== undefined) return`,
  ),
  mutant(
    "dials-not-counted",
    "src/upstream/pool/Roster.ts",
    `    this.#scopes.add(affinity.scope, connection)
    for (const name of countedGroups(connection)) this.#counted.add(name, connection)`,
    `    queueMicrotask(() => {
      this.#scopes.add(affinity.scope, connection)
      for (const name of countedGroups(connection)) this.#counted.add(name, connection)
    })`,
  ),
  mutant(
    "eviction-closes-nothing",
    "src/upstream/pool/Connection.ts",
    `    closeNow(this.scope)`,
    `    if (state._tag !== "Open") closeNow(this.scope)`,
  ),
  mutant(
    "eviction-forgets-waiters",
    "src/upstream/pool/ConnectionPool.ts",
    `        log(usedOnce(upstream))
      }
      wake()`,
    `        log(usedOnce(upstream))
      }`,
  ),
  mutant(
    "idle-not-checked-at-lease",
    "src/upstream/pool/Roster.ts",
    `    else if (this.#hooks.now() - idleSince >= affinity.upstream.idleTtl) connection.evict("idle", "")`,
    `    else if (affinity.upstream.idleTtl < 0) connection.evict("idle", "")`,
  ),
  mutant(
    "interrupted-dial-keeps-its-place",
    "src/upstream/pool/ConnectionPool.ts",
    `                else connection.evict(Exit.hasInterrupts(exit) ? "cancelled" : "dial_failed", "")`,
    `                else if (!Exit.hasInterrupts(exit)) connection.evict("dial_failed", "")`,
  ),
  mutant(
    "interrupted-lease-goes-idle",
    "src/upstream/pool/ConnectionPool.ts",
    `Effect.sync(() => lease.evict(Exit.hasInterrupts(exit) ? "cancelled" : "failed")),`,
    `Effect.sync(() => Exit.hasInterrupts(exit) ? lease.release() : lease.evict("failed")),`,
  ),
  mutant(
    "late-end-kills-successor",
    "src/upstream/pool/Connection.ts",
    `        if (!isMine()) return
        if (lane === undefined) this.evict(reason, detail)`,
    `        if (lane === undefined) this.evict(reason, detail)`,
  ),
  mutant(
    "leases-after-shutdown",
    "src/upstream/pool/Roster.ts",
    `    if (!this.#open) return { _tag: "Refuse", reason: "shutdown" }`,
    ``,
  ),
  mutant(
    "moved-connection-counts-twice",
    "src/upstream/pool/Roster.ts",
    `    for (const name of idleGroups(place)) this.#idle.remove(name, place)
    for (const name of countedGroups(connection)) this.#counted.remove(name, connection)`,
    `    for (const name of idleGroups(place)) this.#idle.remove(name, place)`,
  ),
  mutant(
    "other-scope-gives-way",
    "src/upstream/pool/Groups.ts",
    `const scopeGroup = (scope: string) => \`scope \${scope}\``,
    `const scopeGroup = (scope: string) => \`scope \${scope.length}\``,
  ),
  mutant(
    "release-dropped",
    "src/upstream/pool/Roster.ts",
    `for (const name of idleGroups(place)) this.#idle.add(name, place)`,
    `this.#idle.size("")`,
  ),
  mutant(
    "reservation-skipped",
    "src/upstream/pool/Roster.ts",
    `    this.#scopes.add(affinity.scope, connection)
    for (const name of countedGroups(connection)) this.#counted.add(name, connection)`,
    ``,
  ),
  mutant(
    "sweep-outlives-pool",
    "src/upstream/pool/Evictor.ts",
    `        Effect.forkScoped,`,
    `        Effect.forkDetach,`,
  ),
  mutant(
    "unowned-frame-ignored",
    "src/upstream/pool/Connection.ts",
    `    this.evict("unsolicited", \`a frame came that belongs to no turn (\${kindOf(type)})\`)`,
    `    if (this.state._tag !== "Open") this.evict("unsolicited", kindOf(type))`,
  ),
  mutant(
    "wait-starts-again",
    "src/upstream/pool/ConnectionPool.ts",
    `        const until = now() + Duration.toMillis(busyWait)
        while (decision._tag === "Wait") {
          const waiter = Deferred.makeUnsafe<void>()
          waiters.add(waiter)
          yield* restore(Effect.timeoutOption(Deferred.await(waiter), Duration.millis(until - now()))).pipe(
            Effect.ensuring(Effect.sync(() => waiters.delete(waiter))),
          )
          decision = roster.decide(request, now() >= until)`,
    `        let until = now() + Duration.toMillis(busyWait)
        while (decision._tag === "Wait") {
          const waiter = Deferred.makeUnsafe<void>()
          waiters.add(waiter)
          yield* restore(Effect.timeoutOption(Deferred.await(waiter), Duration.millis(until - now()))).pipe(
            Effect.ensuring(Effect.sync(() => waiters.delete(waiter))),
          )
          const over = now() >= until
          until = now() + Duration.toMillis(busyWait)
          decision = roster.decide(request, over)`,
  ),
  mutant(
    "youngest-gives-way",
    "src/upstream/pool/Groups.ts",
    `    for (const member of this.#groups.get(name) ?? []) if (fits(member)) return member
    return undefined`,
    `    return [...(this.#groups.get(name) ?? [])].findLast(fits)`,
  ),
]

export interface MutantOfTheWhole extends Mutant {
  /** Files of tests, any of which is enough. Running into a time limit is not noticing. */
  readonly noticedBy: ReadonlyArray<string>
}

const by =
  (...noticedBy: ReadonlyArray<string>) =>
  (...of: Parameters<typeof mutant>): MutantOfTheWhole => ({ ...mutant(...of), noticedBy })

const leaving = by("test/proxy/Departures.test.ts")
const late = by("test/proxy/LateFrames.test.ts")
const repeating = by("test/proxy/RepeatedIds.test.ts")
const succeeding = by("test/proxy/Successions.test.ts")
const continuing = by("test/proxy/sockets/Continuity.test.ts")
const chaining = by("test/turn/memory/ClientChains.test.ts")
const onLanes = by("test/proxy/sockets/Turns.test.ts")
const dialling = by("test/upstream/dialer/Dialer.test.ts")
const diallingWithBun = by("test/upstream/dialer/DialerBun.test.ts")
const tunnelling = by("test/upstream/dialer/Tunnel.test.ts")
const parting = by("test/proxy/SharedSockets.test.ts")
const refreshing = by("test/upstream/credential/Credentials.test.ts")
const filling = by("test/upstream/pool/FullPool.test.ts")
const sharing = by(
  "test/upstream/pool/Lanes.test.ts",
  "test/lifecycle/Lanes.test.ts",
  "test/proxy/UpstreamLanes.test.ts",
)
const answering = by("test/upstream/http/AnswerReader.test.ts", "test/proxy/OddAnswers.test.ts")
const measuring = by("test/proxy/sockets/LargeMessages.test.ts")
const keeping = by("test/proxy/KeptConnections.test.ts")
const failing = by("test/proxy/StreamErrors.test.ts")
const striking = by("test/proxy/RepeatedCredential.test.ts")
const searching = by("test/downstream/tenants/UsedIds.test.ts")
const owning = by("test/downstream/tenants/Ownership.test.ts")
const bearing = by("test/upstream/pool/Availability.test.ts")
const learning = by("test/proxy/LearnedLimits.test.ts")
const binding = by("test/turn/attempt/Binding.test.ts")
const enduring = by("test/upstream/dialer/HostileUpstream.test.ts")

const limiting = by("test/proxy/Limits.test.ts")
const admitting = by("test/downstream/Admission.test.ts")

/** Of what only real sockets, or the whole proxy, show: each with the tests that must notice it. */
export const ofTheWhole: ReadonlyArray<MutantOfTheWhole> = [
  by("test/upstream/pool/BlackHole.test.ts")(
    "all-dial-into-nowhere-again",
    "src/upstream/pool/Availability.ts",
    `      if (!troubles.has(place) || trying.has(place)) return () => {}
`,
    `      if (place !== "") return () => {}
`,
  ),
  by("test/upstream/pool/BlackHole.test.ts")(
    "a-dial-that-was-left-tries-for-ever",
    "src/upstream/pool/Availability.ts",
    `      return () => trying.delete(place)`,
    `      return () => {}`,
  ),
  learning(
    "refused-anchor-is-not-learned",
    "src/upstream/socket/WebSocketExecutor.ts",
    `      else if (attempt.reason === "suffix_refused") limits.anchorRefused(affinity.key)
`,
    ``,
  ),
  learning(
    "size-that-was-too-big-is-not-learned",
    "src/upstream/socket/LearnedLimits.ts",
    `bytes: Math.min(bytes, this.largest(url) + 1)`,
    `bytes: Infinity`,
  ),
  learning(
    "refusal-for-what-a-connection-carried-is-the-clients",
    "src/turn/attempt/Recovery.ts",
    `reused && selfContained ? "context_refused" : undefined`,
    `undefined`,
  ),
  learning(
    "sockets-that-close-unheard-are-tried-for-ever",
    "src/upstream/pool/Availability.ts",
    `      const isMute = count >= unheardInARow`,
    `      const isMute = count < 0`,
  ),
  learning(
    "a-page-that-refuses-an-upgrade-is-the-clients-answer",
    "src/turn/attempt/Recovery.ts",
    `clientsAnswer.has(answer.status) && isOfTheApi(answer)`,
    `clientsAnswer.has(answer.status)`,
  ),
  failing(
    "failed-response-without-a-beginning",
    "src/downstream/answer/FailedResponse.ts",
    `    return begun === undefined
`,
    `    return begun === null
`,
  ),
  measuring(
    "a-clients-message-has-the-limit-of-a-body",
    "src/Server.ts",
    `maxMessage: Math.min(settings.maxClientMessage, settings.maxBody)`,
    `maxMessage: settings.maxBody`,
  ),
  measuring(
    "a-clients-message-is-over-the-limit-of-a-body",
    "src/Server.ts",
    `maxMessage: Math.min(settings.maxClientMessage, settings.maxBody)`,
    `maxMessage: settings.maxClientMessage`,
  ),
  measuring(
    "too-large-is-what-a-client-says",
    "src/downstream/socket/BunSockets.ts",
    `code === 1006 && reason === overTheLimit`,
    `reason === overTheLimit`,
  ),
  keeping(
    "an-edges-408-is-the-clients",
    "src/upstream/http/HttpExecutor.ts",
    `  status === 408 && !body.trimStart().startsWith("{")`,
    `  status === 408 && body === "{"`,
  ),
  keeping(
    "the-apis-own-408-is-asked-again",
    "src/upstream/http/HttpExecutor.ts",
    `  status === 408 && !body.trimStart().startsWith("{")`,
    `  status === 408 && body !== "{"`,
  ),
  keeping(
    "kept-connection-loses-a-turn",
    "src/turn/attempt/Recovery.ts",
    `  error.reason === "upstream_closed" &&\n`,
    `  error.reason === "internal" &&\n`,
  ),
  keeping(
    "turn-over-http-runs-twice-with-strict",
    "src/turn/attempt/Recovery.ts",
    `  error.delivery === "Ambiguous" &&
  retry === "standard" &&
`,
    `  error.delivery === "Ambiguous" &&
`,
  ),
  answering(
    "events-only-by-content-type",
    "src/upstream/http/AnswerReader.ts",
    `  if (/[:deir]/.test(first)) return "events"\n`,
    ``,
  ),
  answering(
    "last-event-needs-an-empty-line",
    "src/upstream/http/AnswerReader.ts",
    `      feed("\\n\\n"),`,
    `      feed(""),`,
  ),
  answering(
    "half-an-event-counts",
    "src/upstream/http/AnswerReader.ts",
    `      if (said.ended && parsed(message.data) === undefined) return\n`,
    ``,
  ),
  answering(
    "error-with-status-200-completes",
    "src/upstream/http/AnswerReader.ts",
    `  const error = errorFrameOf(text, value, false)`,
    `  const error = errorFrameOf("", undefined, false)`,
  ),
  answering(
    "queued-is-told-as-completed",
    "src/upstream/http/AnswerReader.ts",
    `  return isTerminal(type) || type === "response.queued" || type === "response.in_progress" ? type : "response.completed"`,
    `  return isTerminal(type) ? type : "response.completed"`,
  ),
  ...forOperators,
  ...ofTheLibrary,
  ...ofCosts,
  ...forClusters,
  succeeding(
    "incomplete-turn-keeps-the-checkpoint-before-it",
    "src/upstream/socket/WebSocketExecutor.ts",
    `        memory.forget(chain)
        lease.complete("none")`,
    `        lease.complete("none")`,
  ),
  leaving(
    "json-turn-outlives-its-client",
    "src/downstream/answer/Answers.ts",
    `      whenLeft(given),
      Effect.onInterrupt(() => Fiber.interrupt(fiber)),
`,
    `      whenLeft(given),
`,
  ),
  leaving(
    "streamed-turn-outlives-a-client-without-a-head",
    "src/downstream/answer/Answers.ts",
    `      whenLeft(running),
      Effect.onInterrupt(() => Fiber.interrupt(fiber)),
`,
    `      whenLeft(running),
`,
  ),
  succeeding(
    "terminal-of-the-turn-before-ends-this-one",
    "src/turn/attempt/EventReader.ts",
    `    if (binding?.judgeEnd(responseIdIn(event), () => outputIn(event)) === "foreign") return this.#foreign(type)
`,
    ``,
  ),
  late(
    "late-delta-taken-for-the-turns-own",
    "src/turn/attempt/EventReader.ts",
    `text.includes(this.#mark) === this.#marked`,
    `text.includes("")`,
  ),
  late(
    "late-response-takes-the-turn-over",
    "src/turn/attempt/Binding.ts",
    `    if (this.#response === undefined && ended.hasResponse(response)) {
      naming.sawLate(response)`,
    `    if (response === naming.late) {
      naming.sawLate(response)`,
  ),
  binding(
    "late-created-begins-the-turn",
    "src/turn/attempt/Binding.ts",
    `      return response === this.#again ? "drop" : "foreign"`,
    `      return this.#isOwn(response) ? "ours" : "foreign"`,
  ),
  late(
    "content-before-the-turn-has-begun",
    "src/turn/attempt/Binding.ts",
    `      if (this.#again !== undefined) naming.sawResponseAgain()
      return "foreign"
    }
    const index`,
    `      if (this.#again !== undefined) naming.sawResponseAgain()
    }
    const index`,
  ),
  late(
    "late-item-taken-for-the-turns-own",
    "src/turn/attempt/Binding.ts",
    `    const doubtful = !this.#items.has(hashOf(id)) && this.#hasEnded(id)`,
    `    const doubtful = false`,
  ),
  binding(
    "late-item-fits-the-turns-index",
    "src/turn/attempt/Binding.ts",
    `    if (this.#hasEnded(id) || !this.#open.has(index)) return "foreign"`,
    `    if (!this.#open.has(index)) return "foreign"`,
  ),
  late(
    "late-item-takes-the-turns-index",
    "src/turn/attempt/Binding.ts",
    `    if (this.#taken.has(index)) return "foreign"
`,
    ``,
  ),
  late(
    "late-item-proved-by-nothing",
    "src/turn/attempt/Binding.ts",
    `    if (id === undefined || !this.#doubted.every((doubted) => proved.includes(doubted))) return "foreign"`,
    `    if (proved.length > 99) return "foreign"`,
  ),
  late(
    "late-error-ends-the-turn",
    "src/turn/attempt/Binding.ts",
    `    return this.#response !== undefined && follows ? "ours" : "foreign"`,
    `    return this.#response !== undefined ? "ours" : "foreign"`,
  ),
  late(
    "unknown-kind-passes-before-the-turn-has-begun",
    "src/turn/attempt/Binding.ts",
    `    return early.every(([, text], at) => numberIn(sequenceNumber, text) === begins + at)`,
    `    return begins !== 0`,
  ),
  late(
    "items-forgotten-after-one-turn",
    "src/turn/attempt/EndedTurns.ts",
    `this.#items.length - maxItems)`,
    `this.#items.length - 1)`,
  ),
  repeating(
    "items-that-repeat-are-held-for-ever",
    "src/turn/attempt/Binding.ts",
    `    this.#options.naming.sawItemAgain()
`,
    ``,
  ),
  repeating(
    "responses-that-repeat-run-twice-each",
    "src/upstream/socket/WebSocketExecutor.ts",
    `fresh = attempt.fresh || naming.responsesRepeat`,
    `fresh = attempt.fresh`,
  ),
  repeating(
    "first-turn-loses-its-own-events",
    "src/turn/attempt/Binding.ts",
    `    if (!this.#first) return verdict
    if (verdict === "foreign") this.#odd = true`,
    `    if (!this.#first || verdict === "foreign") return verdict`,
  ),
  repeating(
    "connection-goes-on-though-nothing-tells-its-turns-apart",
    "src/turn/attempt/Binding.ts",
    `    if (verdict === "foreign") this.#odd = true
`,
    ``,
  ),
  late(
    "harmless-kind-costs-the-connection",
    "src/upstream/pool/Connection.ts",
    `    if (type !== undefined && isHarmless(type)) return
`,
    ``,
  ),
  by("test/proxy/sockets/Upgrade.test.ts")(
    "client-socket-leaves-its-turns",
    "src/downstream/socket/ClientConnection.ts",
    `      for (const { running } of this.#talk.lanes.all()) running?.fiber?.interruptUnsafe()
    }
    this.#options.ended()`,
    `    }
    this.#options.ended()`,
  ),
  continuing(
    "ids-of-any-client-socket",
    "src/downstream/socket/ClientConnection.ts",
    `    if (!stored && this.#options.ownAnchors && !this.#talking.own.has(anchor)) return`,
    `    if (!stored && this.#options.ownAnchors && anchor === "") return`,
  ),
  chaining(
    "any-number-of-news-kept",
    "src/turn/memory/Lineage.ts",
    `lineage.chains && isSmall(lineage.items) ? lineage.items : []`,
    `lineage.chains ? lineage.items : []`,
  ),
  chaining(
    "dropped-news-are-none",
    "src/turn/memory/Checkpoint.ts",
    `  if (lineage.items.length !== itemsIn(lineage)) return undefined`,
    ``,
  ),
  continuing(
    "client-chain-covers-only-its-news",
    "src/turn/memory/Checkpoint.ts",
    `  const items = [...parent.output, ...lineage.items]`,
    `  const items = [...lineage.items]`,
  ),
  continuing(
    "lost-chain-in-other-words",
    "src/upstream/FallbackExecutor.ts",
    `    return isLost ? anchorLost(turn, error) : error`,
    `    return isLost && error.reason === "anchor_lost" ? anchorLost(turn, error) : error`,
  ),
  continuing(
    "warm-up-of-a-warm-session-dials",
    "src/upstream/pool/Roster.ts",
    `    if (request.warmUp === true && this.#isWarm(request)) return`,
    `    if (request.warmUp === false && this.#isWarm(request)) return`,
  ),
  by("test/proxy/sockets/Steering.test.ts")(
    "steered-turn-is-remembered-as-asked",
    "src/upstream/socket/WebSocketExecutor.ts",
    `        const parent = clientSocket?.steering.steered === true ? "unknown" : checkpoint`,
    `        const parent = checkpoint`,
  ),
  onLanes(
    "lanes-without-order",
    "src/downstream/socket/Lanes.ts",
    `    const index = this.#order.findIndex(({ running }) => running === undefined)`,
    `    const index = this.#order.findIndex(() => true)`,
  ),
  onLanes(
    "seventeen-turns-at-a-time",
    "src/downstream/socket/Lanes.ts",
    `    if (this.#running >= maxRunning) return undefined`,
    `    if (this.#running > maxRunning) return undefined`,
  ),
  onLanes(
    "error-frame-without-a-code",
    "src/downstream/socket/ErrorFrame.ts",
    `      code: isText(error["code"]) ? error["code"] : type,`,
    `      code: error["code"],`,
  ),
  by("test/proxy/sockets/Flow.test.ts")(
    "client-behind-is-not-noticed",
    "src/downstream/socket/Outbox.ts",
    `    if (!this.#over && !this.#socket.send(frames)) this.#behind = true`,
    `    if (!this.#over) this.#socket.send(frames)`,
  ),
  by("test/downstream/socket/Outbox.test.ts")(
    "frames-gathered-without-a-bound",
    "src/downstream/socket/Outbox.ts",
    `      if (this.#text >= largestPiece) this.#send()`,
    ``,
  ),
  by("test/downstream/socket/Outbox.test.ts")(
    "gathered-frames-behind-the-close",
    "src/downstream/socket/Outbox.ts",
    `    this.#end ??= { code, reason }
    this.#send()`,
    `    this.#end ??= { code, reason }`,
  ),
  by("test/cli/Logging.test.ts")(
    "last-lines-of-the-log-are-lost",
    "src/cli/Logging.ts",
    `          process.off("exit", flush)
          flush()`,
    `          process.off("exit", flush)`,
  ),
  by("test/upstream/dialer/ReadTurns.test.ts")(
    "one-connection-has-the-round",
    "src/upstream/dialer/ReadTurns.ts",
    `    if (next.slice()) waiting.push(next)`,
    `    if (next.slice()) waiting.unshift(next)`,
  ),
  by("test/upstream/dialer/ReadTurns.test.ts")(
    "slices-without-end-in-one-round",
    "src/upstream/dialer/ReadTurns.ts",
    `  } while (performance.now() < until)`,
    `  } while (until > 0)`,
  ),
  diallingWithBun(
    "burst-handed-on-in-one-go",
    "src/upstream/dialer/FrameReader.ts",
    `    while (this.#state === "reading" && at < chunk.length && at < enough) {`,
    `    while (this.#state === "reading" && at < chunk.length && enough > 0) {`,
  ),
  dialling(
    "leak-dial-interrupted",
    "src/upstream/dialer/Dialer.ts",
    `          Effect.onExit((exit) => (exit._tag === "Failure" ? Scope.close(scope, exit) : Effect.void)),`,
    `          Effect.onExit((exit) => (exit._tag === "Success" ? Effect.void : Effect.sync(() => scope))),`,
  ),
  dialling(
    "leak-scope-closed",
    "src/upstream/dialer/Dialer.ts",
    `            guard.state = "over"
            terminate()`,
    `            guard.state = "over"`,
  ),
  diallingWithBun(
    "leak-bun-connected-too-late",
    "src/upstream/dialer/DialerBun.ts",
    `    if (this.#state === "over") return socket.terminate()`,
    `    if (this.#state === "over") return`,
  ),
  enduring(
    "leak-bun-left",
    "src/upstream/dialer/DialerBun.ts",
    `      // Unlike \`terminate\` this lets the close frame out before it closes.
      socket.end()`,
    ``,
  ),
  dialling(
    "leak-bun-let-go",
    "src/upstream/dialer/DialerBun.ts",
    `    this.#queue.clear()
    socket?.terminate()`,
    `    this.#queue.clear()`,
  ),
  dialling(
    "leak-bun-terminated",
    "src/upstream/dialer/DialerBun.ts",
    `    this.#endTunnel()
    this.#letGo()`,
    `    this.#endTunnel()`,
  ),
  tunnelling(
    "leak-bun-tunnel-asked-for",
    "src/upstream/dialer/DialerBun.ts",
    `    this.#endTunnel()
    this.#letGo()`,
    `    this.#letGo()`,
  ),
  tunnelling(
    "leak-bun-tunnel-connected-too-late",
    "src/upstream/dialer/TunnelBun.ts",
    `    if (this.#over) return socket.terminate()`,
    `    if (this.#over) return`,
  ),
  tunnelling(
    "leak-bun-tunnel-terminated",
    "src/upstream/dialer/TunnelBun.ts",
    `    this.#queue.clear()
    socket?.terminate()`,
    `    this.#queue.clear()`,
  ),
  dialling(
    "leak-ws-terminated",
    "src/upstream/dialer/DialerWs.ts",
    `    handlers.onClose(code, reason.toString())
  })
  return () => socket.terminate()`,
    `    handlers.onClose(code, reason.toString())
  })
  return () => {}`,
  ),
  tunnelling(
    "leak-ws-tunnel-asked-for",
    "src/upstream/dialer/DialerWs.ts",
    `  return () => terminate()`,
    `  return () => {}`,
  ),
  tunnelling(
    "leak-ws-tunnel-to-the-proxy",
    "src/upstream/dialer/TunnelNode.ts",
    `    inner.destroy()
    outer.destroy()`,
    `    if (inner !== outer) inner.destroy()`,
  ),
  tunnelling(
    "leak-ws-tunnel-terminated",
    "src/upstream/dialer/TunnelNode.ts",
    `    inner.destroy()
    outer.destroy()`,
    ``,
  ),
  parting(
    "callers-share-sockets-over-http",
    "src/upstream/http/HttpUpstream.ts",
    `    return { ...init, tls: { ...init.tls, passphrase } } as RequestInit`,
    `    return { ...init, passphrase } as RequestInit`,
  ),
  parting(
    "tenants-share-sockets-over-http",
    "src/upstream/http/HttpUpstream.ts",
    `JSON.stringify([salt, scope, `,
    `JSON.stringify([salt, `,
  ),
  parting(
    "unknown-callers-share-sockets-over-http",
    "src/upstream/http/HttpUpstream.ts",
    `    if (scope === undefined) return { ...init, keepalive: false } as RequestInit`,
    `    if (scope === undefined) return init as RequestInit`,
  ),
  refreshing(
    "token-files-share-a-socket",
    "src/upstream/credential/TokenFile.ts",
    `        keepalive: false,
        proxy`,
    `        proxy`,
  ),
  sharing(
    "lane-ends-with-its-connection",
    "src/upstream/pool/Lanes.ts",
    `!open.chains.some((other) => other !== chain && isOfWorth(other))) return "evict"`,
    `open.chains.length > 0) return "evict"`,
  ),
  sharing(
    "cancelled-lane-is-used-again",
    "src/upstream/pool/Lanes.ts",
    `  if (!lane.sent) return "idle"`,
    `  if (!lane.sent || lane.running) return "idle"`,
  ),
  sharing(
    "cancelled-lane-is-not-waited-for",
    "src/upstream/pool/Lanes.ts",
    `  return lane.running ? "drain" : "gone"`,
    `  return "gone"`,
  ),
  sharing(
    "cancelled-lane-runs-for-ever",
    "src/upstream/pool/Lanes.ts",
    `(now - state.since < drainsFor && (lane?.size ?? 0) <= drainsUpTo)`,
    `(now - state.since < Infinity && (lane?.size ?? 0) <= drainsUpTo)`,
  ),
  sharing(
    "one-more-than-16-lanes",
    "src/upstream/pool/Lanes.ts",
    `inUse(open) < maxRunning)`,
    `inUse(open) <= maxRunning)`,
  ),
  sharing(
    "one-more-than-32-names",
    "src/upstream/pool/Lanes.ts",
    `open.shared.opened < maxNames`,
    `open.shared.opened <= maxNames`,
  ),
  sharing(
    "second-lane-before-the-first-is-proved",
    "src/upstream/pool/Lanes.ts",
    `open.shared.proved && open.shared.opened`,
    `open.shared.opened`,
  ),
  sharing(
    "one-behind-stops-all",
    "src/upstream/pool/Lanes.ts",
    `leased.every(({ lane }) => lane?.waiting !== undefined)`,
    `leased.some(({ lane }) => lane?.waiting !== undefined)`,
  ),
  sharing(
    "a-lane-waits-without-a-bound",
    "src/upstream/pool/SharedTurns.ts",
    `    if (lane.size <= this.#sharing.maxWaiting) return`,
    `    if (lane.size <= Infinity) return`,
  ),
  sharing(
    "lanes-of-other-sessions",
    "src/upstream/pool/Roster.ts",
    `    return !isShared || (held === session && mayRun(state) && !this.#isOld(connection))`,
    `    return !isShared || (mayRun(state) && !this.#isOld(connection) && (held ?? "") !== (session ?? "x"))`,
  ),
  sharing(
    "nameless-event-goes-to-a-lane",
    "src/upstream/pool/SharedTurns.ts",
    `    if (type !== "error" && (proved || opened > 1)) return this.#carrier.onStray(text)`,
    ``,
  ),
  sharing("refused-lanes-forgotten", "src/upstream/socket/WebSocketExecutor.ts", `          lease.noLanes()`, ``),
  filling(
    "closes-a-sibling-that-it-could-use",
    "src/upstream/pool/Roster.ts",
    `() => suiting(siblings))`,
    `() => undefined)`,
  ),
  filling(
    "takes-over-what-is-past-its-time",
    "src/upstream/pool/Roster.ts",
    `        if (this.#ready(suits.connection)) return suits`,
    `        return suits`,
  ),
  filling(
    "takes-a-share-before-what-it-could-use",
    "src/upstream/pool/Roster.ts",
    `      const suits = suiting()
`,
    `      if (others()) continue
      const suits = suiting()
`,
  ),
  filling(
    "takes-from-who-has-a-share",
    "src/upstream/pool/FairShare.ts",
    `    if (holder.connections <= share) continue`,
    ``,
  ),
  searching(
    "names-of-members-are-no-ids",
    "src/downstream/tenants/UsedIds.ts",
    `note(isLong ? yield* this.#inLong(i, stop) : this.#foreign(name))`,
    `if (isLong) note(yield* this.#inLong(i, stop))`,
  ),
  by("test/proxy/Profiles.test.ts")(
    "metadata-of-any-size-is-added-to",
    "src/upstream/route/CodexRules.ts",
    `const maxMetadata = 1 << 15`,
    `const maxMetadata = Infinity`,
  ),
  searching(
    "long-names-are-no-ids",
    "src/downstream/tenants/UsedIds.ts",
    `note(isLong ? yield* this.#inLong(i, stop) : this.#foreign(name))`,
    `note(this.#foreign(name))`,
  ),
  searching(
    "a-number-is-read-without-a-pause",
    "src/downstream/tenants/UsedIds.ts",
    `while (i < pauseAt && i < end && isScalar`,
    `while (i < end && isScalar`,
  ),
  searching(
    "json-in-a-text-is-not-read",
    "src/downstream/tenants/UsedIds.ts",
    `    return yield* foreignInBytes(bytes, from, end, { where: "whole", hasOdd }, this.#isForeign)`,
    `    return undefined`,
  ),
  searching("one-layer-of-escapes", "src/downstream/tenants/IdTexts.ts", `const layers = 4`, `const layers = 1`),
  searching(
    "windows-do-not-overlap",
    "src/downstream/tenants/IdTexts.ts",
    `at + windowBytes + overlap`,
    `at + windowBytes`,
  ),
  searching(
    "names-in-one-spelling",
    "src/downstream/tenants/IdPlaces.ts",
    `name.replaceAll(/[_-]/g, "").toLowerCase()`,
    `name.replaceAll("_", "")`,
  ),
  searching(
    "every-item-holds-all-there-is-to-it",
    "src/downstream/tenants/IdPlaces.ts",
    `  return named === undefined || !item[named]`,
    `  return named === undefined`,
  ),
  searching(
    "no-pause-in-a-long-string",
    "src/downstream/tenants/UsedIds.ts",
    `          if (-stop < pauseAt) continue`,
    `          if (stop < 0) continue`,
  ),
  searching(
    "a-member-twice-is-one",
    "src/downstream/tenants/UsedIds.ts",
    `  } else if (names.includes(name)) return false`,
    `  } else if (names.at(-1) === name) return false`,
  ),
  owning(
    "one-record-for-all-scopes",
    "src/downstream/tenants/Ledger.ts",
    `    const of = this.#queues.get(scope) ?? new Queue(scope)
    this.#queues.set(scope, of)`,
    `    const of = new Queue(scope)
    const all = this.#queues.values().next().value ?? of
    this.#queues.set(all.scope, all)`,
  ),
  owning(
    "the-oldest-scope-gives-way",
    "src/downstream/tenants/Ledger.ts",
    `if (queue.size > largest.size) largest = queue`,
    `if (largest.size === 0) largest = queue`,
  ),
  owning(
    "what-nobody-knows-is-anybodys",
    "src/downstream/tenants/Ownership.ts",
    `owner === undefined ? isShared(id) : owner === scope`,
    `owner === undefined || owner === scope`,
  ),
  owning("queries-are-not-read", "src/downstream/tenants/Ownership.ts", `[["query", query], ...Object`, `[...Object`),
  limiting(
    "announced-bytes-count",
    "src/downstream/http/RequestBytes.ts",
    `    if ((announced ?? 0) <= gatheredAtMost && !holds(announced ?? 0))`,
    `    if (!holds(announced ?? 0))`,
  ),
  by("test/proxy/Framing.test.ts")(
    "turn-begins-before-what-came-behind-its-body-is-seen",
    "src/downstream/http/RequestBytes.ts",
    `        if (settled) round = setImmediate(ended, whole)
        else ended(whole)`,
    `        ended(whole)`,
  ),
  by("test/downstream/auth/AuthScope.test.ts")(
    "caller-is-known-by-half-of-what-it-sends",
    "src/downstream/auth/AuthScope.ts",
    `    if (header === undefined || headers["api-key"] !== undefined) return`,
    `    if (header === undefined) return`,
  ),
  by("test/upstream/pool/Affinity.test.ts")(
    "affinity-of-another-program-or-token",
    "src/upstream/pool/Affinity.ts",
    `  if (before?.made === made && `,
    `  if (before !== undefined && `,
  ),
  by("test/turn/memory/TurnMemory.test.ts")(
    "checkpoint-before-takes-the-new-one-along",
    "src/turn/memory/TurnMemory.ts",
    `    if (before !== undefined) removed(chain, before, entry)`,
    `    if (before !== undefined) removed(chain, before, undefined)`,
  ),
  limiting(
    "slow-bodies-have-five-minutes",
    "src/downstream/http/Collected.ts",
    `if (this.#left <= 0 || this.#gathered.size - before < leastBytes)`,
    `if (this.#left <= 0)`,
  ),
  by("test/downstream/http/RequestBytes.test.ts")(
    "parts-of-a-body-are-kept-without-a-question",
    "src/downstream/http/Collected.ts",
    `    if (error !== undefined) return this.#refuse(error)`,
    ``,
  ),
  by("test/downstream/http/RequestBytes.test.ts")(
    "parts-of-a-body-come-in-no-time",
    "src/downstream/http/Collected.ts",
    `    this.#watch()
    this.#ask()`,
    `    this.#ask()`,
  ),
  limiting(
    "short-bodies-have-five-minutes",
    "src/downstream/http/RequestBytes.ts",
    `    return gather(source, Math.min(window, Duration.toMillis(timeout)), deadlines, settled)`,
    `    return gather(source, Duration.toMillis(timeout), deadlines, settled)`,
  ),
  limiting(
    "address-is-not-counted",
    "src/downstream/Admission.ts",
    "      if (address !== undefined) names.push(`address ${network(address)}`)",
    "",
  ),
  admitting(
    "scope-is-not-counted",
    "src/downstream/Admission.ts",
    "      if (scope !== undefined) names.push(`scope ${scope}`)",
    "",
  ),
  admitting(
    "bytes-without-a-share",
    "src/downstream/Admission.ts",
    `            if (mine.some(({ bytes }) => bytes + more > maxBodiesPerCaller)) return false`,
    ``,
  ),
  admitting(
    "shares-are-kept",
    "src/downstream/Admission.ts",
    `            if (share.places === 0) shares.delete(names[index] ?? "")`,
    ``,
  ),
  striking(
    "type-of-an-event-is-not-redacted",
    "src/turn/Redaction.ts",
    `sink.event(shown === event ? type : text(type), shown)`,
    `sink.event(type, shown)`,
  ),
  striking(
    "credential-in-escapes-passes",
    "src/turn/Spellings.ts",
    `let result = text.includes(escape) ? text.replace(escaped, mark) : text`,
    `let result = text`,
  ),
  striking(
    "credential-in-escapes-passes-in-pieces",
    "src/turn/Spellings.ts",
    `let first = bytes.includes(escape) ? this.#firstWithEscapes(bytes) : undefined`,
    `let first: Found | undefined`,
  ),
  striking(
    "credential-in-escapes-passes-between-pieces",
    "src/turn/Spellings.ts",
    `Math.max(this.#begun(left), this.#begunWithEscapes(left))`,
    `this.#begun(left)`,
  ),
  striking(
    "credential-passes-between-pieces",
    "src/turn/Spellings.ts",
    `Math.max(this.#begun(left), this.#begunWithEscapes(left))`,
    `this.#begunWithEscapes(left)`,
  ),
  striking(
    "credential-passes-inside-of-base64",
    "src/turn/Spellings.ts",
    `[0, 1, 2].flatMap((offset)`,
    `[0].flatMap((offset)`,
  ),
  by("test/turn/Redaction.test.ts")(
    "headers-of-a-turn-are-not-redacted",
    "src/turn/Redaction.ts",
    `sink.head(ofHeaders(headers))`,
    `sink.head(headers)`,
  ),
  by("test/upstream/pool/ConnectionPool.test.ts")(
    "revoked-connection-waits-for-a-sweep",
    "src/upstream/pool/Evictor.ts",
    `        if (isRevoked(connection)) connection.evict("revoked", "")
        else if (`,
    `        if (`,
  ),
  bearing(
    "a-callers-failure-keeps-all-from-dialling",
    "src/upstream/pool/Availability.ts",
    `const key = reached ? ofScope(dialled) : forAll(url)`,
    `const key = forAll(url)`,
  ),
  bearing(
    "a-success-ends-nothing-of-others",
    "src/upstream/pool/Availability.ts",
    `trouble.url === dialled.url && trouble.cause === "unknown"`,
    `trouble.url === "" && trouble.cause === "unknown"`,
  ),
  bearing(
    "a-success-ends-what-is-a-callers-own",
    "src/upstream/pool/Availability.ts",
    `trouble.url === dialled.url && trouble.cause === "unknown"`,
    `trouble.url === dialled.url`,
  ),
]
