import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { collectingLogger } from "../support/Logged.ts"
import { failureOf } from "../support/RecordedTurn.ts"
import { sample } from "../support/Runs.ts"
import { ConnectionPool } from "../../src/upstream/pool/ConnectionPool.ts"
import * as Server from "../../src/Server.ts"
import { Settings } from "../../src/config/Settings.ts"
import type { TurnRoute, TurnSink } from "../../src/turn/Executor.ts"
import { Executor } from "../../src/turn/Executor.ts"
import { turnOf } from "../support/TurnRequests.ts"
import { TestDialer, type TestSocket } from "../support/TestDialer.ts"

/** Stands in every late frame, and in nothing else. */
const late = "LATE"

const ids = (turn: number) => ({ response: `resp_${turn}`, item: `msg_${turn}` })

/** A turn's own events, up to a place in them. */
const begun = (turn: number) => {
  const { item, response } = ids(turn)
  return [
    { type: "response.created", response: { id: response, status: "in_progress", output: [] } },
    { type: "response.in_progress", response: { id: response, status: "in_progress", output: [] } },
    { type: "response.output_item.added", output_index: 0, item: { id: item, type: "message", content: [] } },
    { type: "response.output_text.delta", item_id: item, output_index: 0, content_index: 0, delta: `${turn}` },
  ]
}

const item = (turn: number) => ({
  id: ids(turn).item,
  type: "message",
  role: "assistant",
  content: [{ type: "output_text", text: `${turn}${turn}` }],
})

type Status = "completed" | "incomplete" | "failed"

const rest = (turn: number, status: Status = "completed") => [
  { type: "response.output_text.delta", item_id: ids(turn).item, output_index: 0, content_index: 0, delta: `${turn}` },
  { type: "response.output_item.done", output_index: 0, item: item(turn) },
  { type: `response.${status}`, response: { id: ids(turn).response, status, output: [item(turn)] } },
]

/** Events about an item; as docs/protocol.md 2.1 lists them. */
const aboutItems = [
  "content_part.added",
  "content_part.done",
  "output_text.delta",
  "output_text.done",
  "output_text.annotation.added",
  "refusal.delta",
  "refusal.done",
  "function_call_arguments.delta",
  "function_call_arguments.done",
  "custom_tool_call_input.delta",
  "custom_tool_call_input.done",
  "reasoning_summary_part.added",
  "reasoning_summary_part.done",
  "reasoning_summary_text.delta",
  "reasoning_summary_text.done",
  "reasoning_text.delta",
  "reasoning_text.done",
  "file_search_call.in_progress",
  "file_search_call.searching",
  "file_search_call.completed",
  "web_search_call.in_progress",
  "web_search_call.searching",
  "web_search_call.completed",
  "code_interpreter_call.in_progress",
  "code_interpreter_call.interpreting",
  "code_interpreter_call.completed",
  "code_interpreter_call_code.delta",
  "code_interpreter_call_code.done",
  "image_generation_call.in_progress",
  "image_generation_call.generating",
  "image_generation_call.partial_image",
  "image_generation_call.completed",
  "mcp_call.in_progress",
  "mcp_call.completed",
  "mcp_call.failed",
  "mcp_call_arguments.delta",
  "mcp_call_arguments.done",
  "mcp_list_tools.in_progress",
  "mcp_list_tools.completed",
  "mcp_list_tools.failed",
  "shell_call_command.added",
  "shell_call_command.delta",
  "shell_call_command.done",
  "shell_call_output_content.delta",
  "shell_call_output_content.done",
].map((name) => `response.${name}`)

const aboutResponses = ["created", "queued", "in_progress", "completed", "failed", "incomplete", "cancelled"].map(
  (name) => `response.${name}`,
)

const harmless = [
  "response.done",
  "codex.rate_limits",
  "keepalive",
  "response.metadata",
  "responsesapi.websocket_timing",
]

interface Late {
  readonly kind: string
  /** The frame's text. */
  readonly frame: string
  /** It costs neither the turn nor the connection. */
  readonly harmless: boolean
  /** When it can be told from the turn's own; at any time where absent. */
  readonly moments?: ReadonlyArray<Moment>
}

/** `sent`: before the turn's own `response.created`. `begun`: right behind it. `answering`: between two deltas. */
const moments = ["idle", "sent", "begun", "answering"] as const
type Moment = (typeof moments)[number]

const frameOf = (event: object, more: Partial<Late> & { readonly said?: string } = {}): Late => {
  const frame = JSON.stringify(event)
  const { said = frame.slice(9, frame.indexOf('"', 9)), ...rest } = more
  return { kind: said, frame, harmless: false, ...rest }
}

const text = "response.output_text.delta"
const call = { type: "function_call", call_id: "c", name: late, arguments: '{"a":[{"b":"}"}]}' }

/** Forms of those that JSON allows, and what names the turn before in other ways, or nothing. */
const forms: ReadonlyArray<Late> = [
  frameOf({ type: text, delta: late, content_index: 0, output_index: 0, item_id: ids(1).item }, { said: "id last" }),
  { ...frameOf({ type: text, output_index: 0, delta: late }), kind: "an escaped id" },
  frameOf(
    { type: "response.output_item.done", output_index: 0, item: { ...call, id: ids(1).item } },
    { said: "id behind braces" },
  ),
  frameOf(
    { type: "response.output_item.added", item: { ...call, id: ids(1).item }, output_index: 7 },
    { said: "index of its own" },
  ),
  frameOf(
    { type: "response.output_item.done", item: { ...call, id: ids(1).item }, output_index: 7 },
    { said: "done, index of its own" },
  ),
  frameOf({ type: text, output_index: 7, item_id: ids(1).item, delta: late }, { said: "delta, index of its own" }),
  frameOf(
    {
      type: "response.completed",
      response: { object: "response", output: [], instructions: late, id: ids(1).response },
    },
    { said: "id last in the response" },
  ),
  frameOf(
    { type: "response.in_progress", response: { metadata: { id: "x" }, instructions: late, id: ids(1).response } },
    { said: "id behind an object" },
  ),
  frameOf(
    { type: "response.thing.delta", response_id: ids(1).response, delta: late },
    { said: "unknown kind, names the response" },
  ),
  frameOf({ type: "response.thing", item_id: ids(1).item, thing: late }, { said: "unknown kind, names the item" }),
  frameOf({ type: "response.thing", thing: late }, { said: "unknown kind", moments: ["idle", "sent"] }),
  frameOf(
    { type: "response.thing", sequence_number: 9, thing: late },
    { said: "unknown kind with a number", moments: ["idle", "sent"] },
  ),
  frameOf({ type: "response.audio.delta", delta: late }, { said: "audio", moments: ["idle", "sent"] }),
  frameOf({ type: text, delta: late }, { said: "delta without ids", moments: ["idle", "sent"] }),
  frameOf(
    { type: "response.output_item.added", output_index: 0, item: call },
    { said: "item without an id", moments: ["idle", "sent", "answering"] },
  ),
  frameOf({ type: "response.created", response: { instructions: late } }, { said: "created without an id" }),
  frameOf(
    { type: "response.completed", response: { instructions: late, output: [] } },
    { said: "completed without an id", moments: ["idle", "sent"] },
  ),
  frameOf({ type: "error", code: "server_error", message: late, param: null }, { said: "flat error" }),
  frameOf(
    { type: "error", code: "server_error", message: late, param: null, sequence_number: 9 },
    { said: "flat error with a number" },
  ),
  // A refusal with a status may be this turn's own.
  frameOf(
    { type: "error", status: 500, error: { code: "server_error", message: late } },
    { said: "error", moments: ["idle"] },
  ),
].map((form) =>
  form.kind === "an escaped id" ? { ...form, frame: form.frame.replace("{", `{"item_id":"msg\\u005f1",`) } : form,
)

const kinds: ReadonlyArray<Late> = [
  ...[
    ...aboutItems.map((type) => ({ type, item_id: ids(1).item, output_index: 0, content_index: 0, delta: late })),
    ...aboutResponses.map((type) => ({ type, response: { id: ids(1).response, instructions: late, output: [] } })),
    { type: "response.output_item.added", output_index: 0, item: { id: ids(1).item, type: "message", name: late } },
    { type: "response.output_item.done", output_index: 0, item: { ...item(1), name: late } },
  ].map((event) => frameOf(event)),
  ...forms,
  ...harmless.map((type) => frameOf({ type, said: late, headers: { "x-late": late } }, { harmless: true })),
]

class Heard implements TurnSink {
  readonly routes: Array<TurnRoute> = []
  readonly events: Array<string> = []
  readonly heads: Array<unknown> = []
  route(route: TurnRoute) {
    this.routes.push(route)
  }
  head(headers: Readonly<Record<string, string>>) {
    this.heads.push(headers)
  }
  event(_: string, text: string) {
    this.events.push(text)
    return true
  }
  onDrain(resume: () => void) {
    resume()
  }
}

const layer = Server.layerExecutor.pipe(
  Layer.provideMerge(TestDialer.layer),
  Layer.provide(Settings.layer({ upstreamUrl: "ws://upstream/v1", transport: "websocket" })),
)

const write = (socket: TestSocket | undefined, text: string) => {
  if (socket?.terminated === 0) socket.handlers.onText(text)
}
const say = (socket: TestSocket | undefined, ...frames: ReadonlyArray<object>) => {
  for (const frame of frames) write(socket, JSON.stringify(frame))
}

const user = (text: string) => ({ role: "user", content: text })
const second = [user("first"), { ...item(1), id: undefined }, user("second")]

interface Where {
  readonly moment: Moment
  readonly status: Status
  readonly session: "same" | "other"
}

/** So many conversations are begun without a name before one of them gives its connection to another. */
const conversations = 8

/** A turn, then another one on its connection where that lives, and a frame of the first at some moment of the second. */
const run = Effect.fnUntraced(function* ({ frame }: Late, { moment, status, session }: Where) {
  const dialer = yield* TestDialer
  const { execute } = yield* Executor
  const heard = new Heard()
  const before = session === "other" && status === "completed" ? conversations : 1
  let turn = 0
  const interject = (own: number, at: Moment) => {
    if (own === before + 1 && moment === at) write(dialer.sockets[0], frame)
  }
  dialer.answer.with = (socket) => {
    const own = ++turn
    if (own <= before) return say(socket, ...begun(own), ...rest(own, status))
    const [created, ...events] = begun(own)
    interject(own, "sent")
    say(socket, ...(created === undefined ? [] : [created]))
    interject(own, "begun")
    say(socket, ...events)
    interject(own, "answering")
    say(socket, ...rest(own))
  }
  const asked = (input: ReadonlyArray<object>) => ({
    ...turnOf({ model: "m", input }),
    ...(session === "same" ? { session: { key: "a", name: "a" } } : {}),
  })
  for (let at = 0; at < before; at++) yield* execute(asked([user(at === 0 ? "first" : `first ${at}`)]), new Heard())
  if (moment === "idle") write(dialer.sockets[0], frame)
  const exit = yield* Effect.exit(execute(asked(session === "same" ? second : [user("another")]), heard))
  const pool = (yield* ConnectionPool).connections().map(({ state }) => state)
  return { before, heard, exit, dialer, pool }
})

/** Every cell of the table in which the frame can be told from the turn's own. */
const cells = moments.flatMap((moment) =>
  (["completed", "incomplete", "failed"] as const).flatMap((status) =>
    (["same", "other"] as const).map((session): Where => ({ moment, status, session })),
  ),
)

describe("A frame of a turn that has ended", () => {
  for (const where of cells) {
    const { moment, session, status } = where
    const told = sample(
      kinds.filter(({ moments }) => moments?.includes(moment) ?? true),
      0.25,
    )
    const when = `after ${status}, while the connection is ${moment}, before a turn of the ${session} session`
    it.effect.each(told)(`never reaches a client: $kind ${when}`, (kind) =>
      Effect.gen(function* () {
        const { before, dialer, exit, heard, pool } = yield* run(kind, where)
        assert.notInclude(JSON.stringify([heard.events, heard.heads]), late)
        const lives = status !== "failed"
        if (kind.harmless && lives) {
          assert.strictEqual(dialer.dials(), before)
          const { connection, reason } = heard.routes[0] ?? {}
          const isContinued = session === "same" && status === "completed"
          assert.deepStrictEqual([connection, heard.routes.length], ["reused", 1])
          if (isContinued) assert.strictEqual(reason, "continued")
        }
        if (lives && moment === "answering" && !kind.harmless && Exit.isFailure(exit)) {
          // Its answer had begun to be shown.
          assert.strictEqual(failureOf(exit).reason, "foreign_event")
          assert.isAbove(heard.events.length, 0)
          assert.strictEqual(pool.length, before - 1)
          return
        }
        // The turn itself is not lost, and ends once, in its own answer.
        assert.isTrue(Exit.isSuccess(exit), String(exit))
        assert.match(
          heard.events.at(-1) ?? "",
          new RegExp(`"type":"response.completed","response":{"id":"resp_(${before + 1}|${before + 2})"`),
        )
        assert.strictEqual(heard.events.filter((text) => text.includes("response.completed")).length, 1)
        assert.isTrue(pool.every((state) => state === "Idle"))
      }).pipe(Effect.provide(layer)),
    )
  }

  it.effect("is known two turns later, too", () =>
    Effect.gen(function* () {
      const dialer = yield* TestDialer
      const { execute } = yield* Executor
      let turn = 0
      dialer.answer.with = (socket) => {
        const own = ++turn
        say(socket, ...begun(own))
        if (own === 3) write(socket, frameOf({ type: text, item_id: ids(1).item, output_index: 0, delta: late }).frame)
        say(socket, ...rest(own))
      }
      const session = { key: "a", name: "a" }
      const heard = new Heard()
      const input: Array<object> = []
      for (const at of [1, 2]) {
        input.push(user(`${at}`))
        yield* execute({ ...turnOf({ model: "m", input }), session }, new Heard())
        input.push(item(at))
      }
      const exit = yield* Effect.exit(
        execute({ ...turnOf({ model: "m", input: [...input, user("3")] }), session }, heard),
      )
      assert.strictEqual(failureOf(exit).reason, "foreign_event")
      assert.strictEqual(heard.routes[0]?.reason, "continued")
      assert.notInclude(heard.events.join(), late)
    }).pipe(Effect.provide(layer)),
  )

  for (const moment of ["idle", "sent"] as const) {
    it.effect(`is said in the log by its kind: ${moment}`, () => {
      const { logged, logger } = collectingLogger()
      return Effect.gen(function* () {
        const kind = frameOf({ type: text, item_id: ids(1).item, output_index: 0, delta: late })
        yield* run(kind, { moment, status: "completed", session: "same" })
        const lines = logged.filter((line) => line.includes("level=WARN"))
        assert.strictEqual(lines.length, 1, logged.join())
        assert.match(lines[0] ?? "", /not asked for.*upstream=.*connectionId=1.*\(response\.output_text\.delta\)/)
        assert.notInclude(lines[0], late)
      }).pipe(Effect.provide(Layer.provideMerge(layer, logger)))
    })
  }
})
