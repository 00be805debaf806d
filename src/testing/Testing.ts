/**
 * `respool/testing`: property tests for the lifecycle of a pool of connections, respool's own or yours.
 *
 *     PoolUnderTest     what a pool has to offer to be tested; your layer of it opens connections by ScriptedUpstream
 *     schedules         random schedules, for `it.effect.prop`
 *     verify, replay    one schedule against a pool, checked after every step
 *     check             many, until one fails, which is shrunk
 *     invariants        the checks, by name; the model of the state table is one more when you give `rules`
 *     Census            whether a program gives back the sockets, fibers, timers and entries it took
 *
 * `README.md` beside this file shows how to test a pool of your own.
 */
/** @stability experimental */
export { Census, CensusError, type Gauges, type Holdings } from "./Census.ts"
/** @stability experimental */
export { check, type SearchOptions } from "./Check.ts"
/** @stability experimental */
export * as Invariants from "./model/Invariants.ts"
/** @stability experimental */
export { type Invariant, invariants } from "./model/Invariants.ts"
/** @stability experimental */
export { Model } from "./model/Model.ts"
/** @stability experimental */
export { type Observation, type TurnRecord } from "./world/Observation.ts"
/** @stability experimental */
export { type Lease, type LeaseRequest, type PoolReport, PoolUnderTest } from "./PoolUnderTest.ts"
/** @stability experimental */
export * as RespoolPool from "./RespoolPool.ts"
/** @stability experimental */
export { type IdleConnection, type Rules } from "./model/Rules.ts"
/** @stability experimental */
export {
  type Key,
  type Limits,
  parse,
  print,
  type Schedule,
  ScheduleSyntaxError,
  type Step,
} from "./schedule/Schedule.ts"
/** @stability experimental */
export { type ScheduleOptions, schedules, thorough } from "./schedule/Schedules.ts"
/** @stability experimental */
export { ConnectError, type ScriptedConnection, ScriptedUpstream } from "./world/ScriptedUpstream.ts"
/** @stability experimental */
export { LifecycleError, replay, type Subject, verify } from "./Verify.ts"
/** @stability experimental */
export { VirtualClock } from "./world/VirtualClock.ts"
