/**
 * Decides whether the model explains what is seen.
 *
 * Steps that nothing separated may have taken effect in any order, and waiters that need not be served fairly in any
 * order too; so the model is a set of those that still explain everything seen so far, as in a check of
 * linearizability.
 */
import type { Model, ModelConnection, ModelTurn } from "./Model.ts"
import type { Observation, TurnRecord } from "../world/Observation.ts"
import type { PoolConnection } from "../PoolUnderTest.ts"
import type { Step } from "../schedule/Schedule.ts"
import type { ConnectionRecord } from "../world/ScriptedUpstream.ts"

/** The most explanations that are followed; no schedule of ordinary length needs more. */
const maxModels = 64

/** The models after the steps that explain what is seen; if none does, what contradicts the first of them. */
export const explain = (
  models: ReadonlyArray<Model>,
  steps: ReadonlyArray<Step>,
  seen: Observation,
): { readonly models: ReadonlyArray<Model>; readonly contradiction: string | undefined } => {
  const explaining = new Map<string, Model>()
  let contradiction: string | undefined
  for (const model of models) {
    for (const attempt of attempts(model, steps)) {
      const difference = differs(attempt, seen)
      if (difference === undefined) explaining.set(hidden(attempt), attempt)
      else contradiction ??= difference
      if (explaining.size >= maxModels) break
    }
  }
  return { models: [...explaining.values()], contradiction: explaining.size === 0 ? contradiction : undefined }
}

function* attempts(model: Model, steps: ReadonlyArray<Step>): Generator<Model> {
  const leased = steps.filter((step) => step._tag === "Lease").map(({ turn }) => turn)
  const waiting = [...model.turns.values()].filter(({ phase }) => phase === "Waiting").map(({ turn }) => turn)
  const contenders = model.rules.fair ? [] : [...new Set([...waiting, ...leased])]
  for (const order of permutations(steps)) {
    for (const served of contenders.length < 2 ? [undefined] : [undefined, ...permutations(contenders)]) {
      for (const barging of waiting.length > 0 && steps.length > 1 ? [false, true] : [false]) {
        const attempt = model.clone()
        attempt.barging = barging
        if (served !== undefined) attempt.rank = ({ turn }) => served.indexOf(turn)
        for (const step of order) attempt.step(step)
        if (barging) attempt.wake()
        attempt.rank = model.rank
        yield attempt
      }
    }
  }
}

function* permutations<A>(items: ReadonlyArray<A>): Generator<ReadonlyArray<A>> {
  if (items.length < 2) return yield items
  for (const [index, item] of items.entries()) {
    for (const rest of permutations([...items.slice(0, index), ...items.slice(index + 1)])) yield [item, ...rest]
  }
}

/** The state of a model that is not seen but matters for what it does next; equal texts mean equal models. */
const hidden = ({ connections, rules, turns }: Model): string => {
  const all = [...connections.values()]
  const idle = all.filter(({ phase }) => phase === "Idle").sort((a, b) => a.order - b.order)
  const busy = all.filter(({ phase }) => phase !== "Idle").sort((a, b) => a.id - b.id)
  const remembered = all.filter(({ checkpoint }) => checkpoint !== undefined)
  remembered.sort((a, b) => (a.checkpoint?.order ?? 0) - (b.checkpoint?.order ?? 0))
  const waiting = [...turns.values()].filter(({ phase }) => phase === "Waiting")
  waiting.sort((a, b) => (rules.fair ? a.order - b.order : a.turn - b.turn))
  return JSON.stringify([
    idle.map(({ id, since }) => [id, since]),
    busy.map(({ id, line, phase, since, turn }) => [id, line, turn, phase === "Connecting" ? since : 0]),
    remembered.map(({ checkpoint, id }) => [id, checkpoint?.turn, checkpoint?.line]),
    waiting.map(({ turn, until }) => [turn, until]),
  ])
}

const differs = (model: Model, seen: Observation): string | undefined => {
  for (const turn of seen.turns) {
    const difference = turnDiffers(model.turns.get(turn.turn), turn)
    if (difference !== undefined) return difference
  }
  if (seen.upstream.length !== model.dialled) {
    return `${model.dialled} connections should have been dialled, ${seen.upstream.length} were`
  }
  const reported = new Map(seen.pool.connections?.map((connection) => [connection.connection, connection]))
  for (const record of seen.upstream) {
    const difference = connectionDiffers(model, seen, record, reported.get(record.id))
    if (difference !== undefined) return difference
  }
  const waiting = [...model.turns.values()].filter(({ phase }) => phase === "Waiting").length
  if (seen.pool.waiting !== undefined && seen.pool.waiting !== waiting) {
    return `${waiting} should be waiting, the pool says ${seen.pool.waiting}`
  }
  return undefined
}

const turnDiffers = (expected: ModelTurn | undefined, turn: TurnRecord): string | undefined => {
  if (expected === undefined || expected.key !== turn.key || expected.line !== turn.line) {
    return `turn ${turn.turn} of ${turn.key} should not have begun`
  }
  const phase = expected.phase === "Waiting" || expected.phase === "Dialling" ? "Pending" : expected.phase
  const at = (connection: number | undefined) => (connection === undefined ? "" : ` on connection ${connection}`)
  const connection = phase === "Pending" ? undefined : expected.connection
  if (turn.phase === phase && turn.end === expected.end && turn.connection === connection) return undefined
  const is = `${turn.end ?? turn.phase}${at(turn.connection)}`
  return `turn ${turn.turn} should be ${expected.end ?? expected.phase}${at(connection)}, and is ${is}`
}

const connectionDiffers = (
  model: Model,
  { pool }: Observation,
  record: ConnectionRecord,
  reported: PoolConnection | undefined,
): string | undefined => {
  const name = `connection ${record.id}`
  const expected = model.connections.get(record.id)
  const exists = record.phase === "Dialling" || record.phase === "Open"
  if (expected === undefined) {
    if (exists) return `${name} should be gone`
    return reported !== undefined ? `${name} is gone, and the pool says ${reported.phase}` : undefined
  }
  const open = expected.phase === "Connecting" ? "Dialling" : "Open"
  if (record.key !== expected.key) return `${name} should be of ${expected.key}, and is of ${record.key}`
  if (record.phase !== open) return `${name} should be ${open}, and is ${record.phase}`
  if (pool.connections === undefined) return undefined
  if (reported === undefined) return `${name} should be ${expected.phase}, and the pool has none`
  return reportDiffers(name, expected, reported)
}

const reportDiffers = (name: string, expected: ModelConnection, reported: PoolConnection): string | undefined => {
  if (reported.phase !== expected.phase) return `${name} should be ${expected.phase}, the pool says ${reported.phase}`
  if ("line" in reported && reported.line !== expected.line) {
    return `${name} should be of line ${expected.line}, the pool says ${reported.line}`
  }
  if ("checkpoint" in reported && reported.checkpoint !== expected.checkpoint?.turn) {
    return `${name} should remember turn ${expected.checkpoint?.turn}, the pool says ${reported.checkpoint}`
  }
  return undefined
}
