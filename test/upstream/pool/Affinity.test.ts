import { assert, describe, it } from "@effect/vitest"
import { Redacted, Result } from "effect"
import { Settings } from "../../../src/config/Settings.ts"
import type { Credential } from "../../../src/turn/Caller.ts"
import type { Affinity } from "../../../src/upstream/pool/Affinity.ts"
import { affinityOf } from "../../../src/upstream/pool/Affinity.ts"
import type { RoutedTurn } from "../../../src/upstream/route/Routing.ts"
import { makeUpstream } from "../../../src/upstream/route/Upstreams.ts"
import { parseRequestBody } from "../../../src/wire/RequestBody.ts"
import { utf8 } from "../../support/Bytes.ts"

const [settings] = Settings.defaults.upstreams
// One that is no known API's, which is told the way that a request came.
const upstream = makeUpstream({ ...settings, url: "http://127.0.0.1:1/v1" })

const credentialOf = (token: string): Credential => ({
  headers: Redacted.make({ authorization: `Bearer ${token}` }),
  identity: "an account",
  owner: "upstream",
})

const shown = credentialOf("first")

interface Change extends Partial<Pick<RoutedTurn, "headers" | "query" | "shown" | "upstream">> {
  readonly body?: string
  readonly scope?: string
  readonly ownHop?: string
}

const affinity = ({ body = '{"input":"x"}', ownHop = "hop-1", scope = "a", ...change }: Change): Affinity => {
  const turn: RoutedTurn = {
    turnId: "req_1",
    id: "req_1",
    startedAt: 0,
    body: Result.getOrThrow(parseRequestBody(utf8(body))),
    query: "",
    stream: true,
    caller: { scope, label: scope, credential: undefined, tenant: false },
    session: undefined,
    headers: {},
    upstream,
    shown,
    ...change,
  }
  return affinityOf(turn, scope, ownHop)
}

const told = ({ headers }: Affinity) => Redacted.value(headers)

/** Turns that must not have the connection of one without any of this. */
const apart: Readonly<Record<string, Change>> = {
  "another scope": { scope: "b" },
  "another query": { query: "?api-version=2" },
  "a user": { body: '{"input":"x","user":"u"}' },
  "a safety identifier": { body: '{"input":"x","safety_identifier":"u"}' },
  "an organization": { headers: { "openai-organization": "o" } },
  "a project": { headers: { "openai-project": "o" } },
  "the beta that is named otherwise": { headers: { "openai-beta": "b" } },
  "another upstream": { upstream: makeUpstream({ ...settings, url: "http://127.0.0.1:2/v1" }) },
  "no credential": { shown: undefined },
}

/** Turns that may use the same connection, and dial with other headers. */
const alike: Readonly<Record<string, Change>> = {
  "another program": { headers: { "user-agent": "other/1" } },
  "another token of the same account": { shown: credentialOf("second") },
  "a way that it came": { headers: { "cdn-loop": "respool-0123456789ab" } },
  "another proxy on the way": { ownHop: "hop-2" },
}

describe("The affinity of a turn", () => {
  it("is the same object for the next turn that is told the same", () => {
    assert.strictEqual(affinity({}), affinity({ body: '{"input":"y","model":"m"}' }))
  })

  for (const [name, change] of Object.entries(apart)) {
    it(`is another for ${name}, and the one before is not changed by it`, () => {
      const [before, other, after] = [affinity({}), affinity(change), affinity({})]
      assert.notStrictEqual(other.key, before.key)
      assert.strictEqual(after.key, before.key)
      assert.deepStrictEqual(told(after), told(before))
    })
  }

  for (const [name, change] of Object.entries(alike)) {
    it(`is equal for ${name}, with the headers of that turn`, () => {
      const [before, other, after] = [affinity({}), affinity(change), affinity({})]
      assert.strictEqual(other.key, before.key)
      assert.notDeepEqual(told(other), told(before))
      assert.deepStrictEqual(told(after), told(before))
    })
  }
})
