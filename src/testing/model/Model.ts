/**
 * Does what the state table of a pooled connection says, step by step: the reference model.
 *
 * | from | event | to |
 * |---|---|---|
 * | – | lease, none fits, room | Connecting |
 * | Connecting | opens / refused, too late, turn interrupted | Leased / gone |
 * | Leased | completed, incomplete | Idle, with / without a checkpoint |
 * | Leased | failed, interrupted, peer closed | gone |
 * | Idle | lease that it fits, young enough | Leased |
 * | Idle | lease that it does not fit, at a cap | Leased |
 * | Idle | ttl, age, room needed, reload, frame of no turn, peer closed | gone |
 * | any | shutdown | gone |
 *
 * Each step happens at once, one after the other; what the real pool does together must be explained by some order of
 * steps.
 */
import type { TurnEnd } from "../world/Observation.ts"
import type { IdleConnection, Rules } from "./Rules.ts"
import type { DialOutcome, Key, Limits, Step } from "../schedule/Schedule.ts"
import { scopeOf } from "../schedule/Schedule.ts"

export interface ModelConnection extends Omit<IdleConnection, "expired"> {
  readonly line: number | undefined
  readonly phase: "Connecting" | "Leased" | "Idle"
  /** The turn that it is for; undefined: it is idle. */
  readonly turn: number | undefined
  readonly openedAt: number
  /** When its phase began. */
  readonly since: number
  /** Grows with every phase that begins. */
  readonly order: number
}

export interface ModelTurn {
  readonly turn: number
  readonly key: Key
  readonly line: number | undefined
  readonly phase: "Waiting" | "Dialling" | "Leased" | "Ended"
  readonly connection: number | undefined
  readonly end: TurnEnd | undefined
  /** When its wait is over. */
  readonly until: number
  readonly order: number
}

export class Model {
  readonly rules: Rules
  readonly limits: Limits
  connections = new Map<number, ModelConnection>()
  turns = new Map<number, ModelTurn>()
  open = true
  now = 0
  dials: DialOutcome = "open"
  /** How many dials there were, successful or not. */
  dialled = 0
  #order = 0
  /** Whether a connection has become idle or gone since the waiting turns decided. */
  #changed = false
  /** True: waiting turns are woken after the next steps, so a turn that comes now decides before them. */
  barging = false
  /** The order in which waiting turns are served, the smallest first. */
  rank: (turn: ModelTurn) => number = ({ order }) => order

  constructor(rules: Rules, limits: Limits) {
    this.rules = rules
    this.limits = limits
  }

  clone(): Model {
    const model = new Model(this.rules, this.limits)
    model.connections = new Map(this.connections)
    model.turns = new Map(this.turns)
    model.open = this.open
    model.now = this.now
    model.dials = this.dials
    model.dialled = this.dialled
    model.#order = this.#order
    model.#changed = this.#changed
    return model
  }

  /** Serves the waiting turns after steps that were taken with `barging`. */
  wake() {
    this.barging = false
    this.#serve()
  }

  step(step: Step) {
    switch (step._tag) {
      case "Lease": {
        const { key, line, turn } = step
        const running = this.turns.get(turn)
        if (running !== undefined && running.phase !== "Ended") return
        const until = this.now + (this.limits.full === "wait" ? this.rules.waitFor : 0)
        const waiting = { turn, key, line, until, order: ++this.#order, end: undefined, connection: undefined }
        if (this.rules.fair) this.#serve()
        this.turns.set(turn, { ...waiting, phase: "Waiting" })
        this.#decide({ ...waiting, phase: "Waiting" })
        break
      }
      case "Finish": {
        const connection = this.#usedBy(step.turn)
        if (connection === undefined) return
        this.#end(step.turn, step.outcome)
        if (step.outcome === "failed") this.connections.delete(connection.id)
        else this.#idle(connection, step.turn, step.outcome === "completed" && this.rules.remembers)
        break
      }
      case "Cancel":
        this.#end(step.turn, "cancelled")
        break
      case "Dials":
        this.dials = step.outcome
        return
      case "Answer": {
        const connection = this.connections.get(step.connection)
        if (connection?.phase !== "Connecting") return
        if (step.outcome === "open")
          this.#lease({ ...connection, openedAt: this.now }, connection.turn, connection.line)
        else this.#gone(connection)
        break
      }
      case "Close": {
        const connection = this.connections.get(step.connection)
        if (connection !== undefined && connection.phase !== "Connecting") this.#gone(connection)
        break
      }
      case "Frame": {
        const connection = this.connections.get(step.connection)
        if (connection?.phase === "Idle") this.#gone(connection)
        break
      }
      case "Reload":
        for (const connection of this.#idleOnes(({ key }) => key === step.key)) this.#gone(connection)
        break
      case "Shutdown":
        this.open = false
        this.#changed = true
        for (const connection of this.connections.values()) this.#gone(connection)
        break
      case "Pass":
        this.#pass(this.now + step.seconds * 1000)
        return
    }
    if (!this.barging) this.#serve()
  }

  /** Idle for too long, or too old for another turn. */
  #expired({ openedAt, phase, since }: ModelConnection): boolean {
    return phase === "Idle" && (this.now - openedAt >= this.rules.maxAge || this.now - since >= this.rules.idleTtl)
  }

  #pass(end: number) {
    const { connectWithin, sweepEvery } = this.rules
    while (true) {
      const sweep = (Math.floor(this.now / sweepEvery) + 1) * sweepEvery
      const waits = this.#waiting().map(({ until }) => until)
      const dials = [...this.connections.values()].filter(({ phase }) => phase === "Connecting")
      const next = Math.min(
        Number.isNaN(sweep) ? Infinity : sweep,
        ...waits,
        ...dials.map((dial) => dial.since + connectWithin),
      )
      if (next > end) break
      this.now = next
      for (const dial of dials) if (dial.since + connectWithin <= this.now) this.#gone(dial)
      if (next === sweep) {
        for (const old of this.#idleOnes((idle) => this.#expired(idle))) this.#gone(old)
      }
      for (const turn of this.#waiting()) if (turn.until <= this.now) this.#decide(turn)
      this.#serve()
    }
    this.now = end
  }

  /** The waiting turns decide anew, until that changes nothing more. */
  #serve() {
    while (this.#changed) {
      this.#changed = false
      const waiting = this.#waiting().sort((a, b) => this.rank(a) - this.rank(b))
      for (const turn of waiting) this.#decide(turn)
    }
  }

  #waiting(): Array<ModelTurn> {
    return [...this.turns.values()].filter(({ phase }) => phase === "Waiting")
  }

  #decide(turn: ModelTurn): boolean {
    const { key, line } = turn
    if (!this.open) return this.#end(turn.turn, "failed")
    const mine = (other: ModelConnection) => scopeOf(other.key) === scopeOf(key)
    const ofLine = (other: ModelConnection) => mine(other) && line !== undefined && other.line === line
    const count = (fits: (other: ModelConnection) => boolean) => [...this.connections.values()].filter(fits).length
    const lineFull = () => count(ofLine) >= this.limits.perLine
    const full = () => this.connections.size >= this.limits.total || count(mine) >= this.limits.perScope

    const idle = this.#idleOnes((other) => other.key === key)
    const known = idle.map((connection) => ({ ...connection, expired: this.#expired(connection) }))
    for (const { expired, id } of this.rules.candidates(known, turn)) {
      const candidate = this.connections.get(id)
      if (candidate === undefined) continue
      if (expired) this.#gone(candidate)
      else if (candidate.line === line || !lineFull()) return this.#lease(candidate, turn.turn, line)
    }
    while (lineFull() || full()) {
      const idle = this.rules.makesRoom ? this.#idleOnes(lineFull() ? ofLine : mine) : []
      const same = this.rules.takesOver === true ? idle.find((other) => other.key === key) : undefined
      const mayShare = this.rules.sharesFairly === true && !lineFull() && count(mine) < this.limits.perScope
      const foreign = mayShare && same === undefined ? this.#aboveShare(scopeOf(key)) : undefined
      const old = idle[0] !== undefined && this.#expired(idle[0])
      const coldest = old ? idle[0] : (foreign ?? idle[0])
      if (coldest === undefined) return turn.until <= this.now && this.#end(turn.turn, "failed")
      if (same === undefined || old) this.#gone(coldest)
      else if (this.#expired(same)) this.#gone(same)
      else return this.#lease(same, turn.turn, line)
    }
    const id = ++this.dialled
    const dial = { id, key, line, checkpoint: undefined, turn: turn.turn, openedAt: this.now, since: this.now }
    const dialling: ModelConnection = { ...dial, phase: "Connecting", order: ++this.#order }
    if (this.dials === "refuse") {
      this.#changed = true
      return this.#end(turn.turn, "failed")
    }
    if (this.dials === "open") return this.#lease(dialling, turn.turn, line)
    this.connections.set(id, dialling)
    this.turns.set(turn.turn, { ...turn, phase: "Dialling", connection: id })
    return true
  }

  /** What has been idle longest in the scope that has most above a fair share. */
  #aboveShare(asking: string): ModelConnection | undefined {
    const scopeOfOne = ({ key }: ModelConnection) => scopeOf(key)
    const all = [...this.connections.values()].map(scopeOfOne)
    const count = (scope: string) => all.filter((other) => other === scope).length
    const share = this.limits.total / new Set([...all, asking]).size
    if (count(asking) > 0 && count(asking) + 1 > share) return undefined
    const above = this.#idleOnes(({ key }) => scopeOf(key) !== asking && count(scopeOf(key)) > share)
    const most = Math.max(...above.map((connection) => count(scopeOfOne(connection))))
    return above.find((connection) => count(scopeOfOne(connection)) === most)
  }

  #lease(connection: ModelConnection, turn: number | undefined, line: number | undefined): true {
    const leased = { turn, line, since: this.now, order: ++this.#order }
    this.connections.set(connection.id, { ...connection, ...leased, phase: "Leased" })
    const holder = turn === undefined ? undefined : this.turns.get(turn)
    if (holder !== undefined) this.turns.set(holder.turn, { ...holder, phase: "Leased", connection: connection.id })
    return true
  }

  #idle(connection: ModelConnection, turn: number, remembered: boolean) {
    const order = ++this.#order
    const checkpoint = remembered ? { turn, line: connection.line, order } : undefined
    this.#changed = true
    const idle = { phase: "Idle", turn: undefined, since: this.now, order, checkpoint } as const
    this.connections.set(connection.id, { ...connection, ...idle })
  }

  /** The connection ends, and with it the turn that had it or waited for it to open. */
  #gone(connection: ModelConnection) {
    this.#changed = true
    this.connections.delete(connection.id)
    if (connection.turn !== undefined) this.#end(connection.turn, "failed")
  }

  /** A turn that ends while it has a connection takes it along. */
  #end(turn: number, end: TurnEnd): boolean {
    const running = this.turns.get(turn)
    if (running === undefined || running.phase === "Ended") return false
    const dialled = running.phase === "Dialling"
    if (running.connection !== undefined) this.#changed = this.connections.delete(running.connection) || this.#changed
    this.turns.set(turn, { ...running, phase: "Ended", connection: dialled ? undefined : running.connection, end })
    return true
  }

  #usedBy(turn: number): ModelConnection | undefined {
    const running = this.turns.get(turn)
    return running?.phase === "Leased" ? this.connections.get(running.connection ?? 0) : undefined
  }

  /** The longest idle first. */
  #idleOnes(fits: (connection: ModelConnection) => boolean): ReadonlyArray<ModelConnection> {
    return [...this.connections.values()]
      .filter((connection) => connection.phase === "Idle" && fits(connection))
      .sort((a, b) => a.order - b.order)
  }
}
