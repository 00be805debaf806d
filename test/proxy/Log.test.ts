import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { SettingsOptions } from "../../src/config/Settings.ts"
import type { ArrivalFault, Fault } from "../../src/simulator/Simulator.ts"
import { Simulator } from "../../src/simulator/Simulator.ts"
import { Dialer } from "../../src/upstream/dialer/Dialer.ts"
import { get, post } from "../support/AskProxy.ts"
import { eventually } from "../support/EventLoop.ts"
import { script } from "../support/Faulty.ts"
import { user } from "../support/Items.ts"
import { socket } from "../support/SocketClient.ts"
import { makeTenancy, upstreamKey } from "../support/Tenancy.ts"
import { TestProxy } from "../support/TestProxy.ts"

const ofRequests = (logged: ReadonlyArray<string>) => logged.filter((line) => / message=(turn|request) /.test(line))

const proxied = (
  settings: SettingsOptions = {},
  logs: "Debug" | "Info" | "Warn" = "Warn",
  dialer?: Layer.Layer<Dialer>,
) =>
  Layer.unwrap(
    Effect.map(Simulator, ({ url }) => TestProxy.layerProxy({ upstreamUrl: url, ...settings }, dialer, logs)),
  ).pipe(Layer.provideMerge(Simulator.layer({ script })))

const greet = (stream: boolean) => post({ stream, input: [user("Hello")] })

const onSocket = Effect.gen(function* () {
  const client = yield* socket()
  return yield* client.turn({ input: [user("Hello")] })
}).pipe(Effect.scoped)

const failing = (fault: Fault | ArrivalFault, asked: Effect.Effect<unknown, never, TestProxy>) =>
  Effect.gen(function* () {
    yield* (yield* Simulator).failNext(fault)
    yield* asked
  })

const error = (at: number, status: number, code: string): Fault => ({ _tag: "Error", at, status, code, message: "No." })

/** Asks while another turn has all the room there is. */
const besideAnother = (asked: Effect.Effect<unknown, never, TestProxy>) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator
    yield* simulator.failNext({ _tag: "Hold", at: 0 })
    const other = yield* Effect.forkChild(greet(false))
    yield* simulator.until(() => simulator.turns.length > 0)
    yield* asked
    yield* simulator.release
    yield* Fiber.join(other)
  })

/** Asks, and lets the time pass until the proxy gives up. */
const inTime = (asked: Effect.Effect<unknown, never, Simulator | TestProxy>) =>
  Effect.gen(function* () {
    const simulator = yield* Simulator
    const fiber = yield* Effect.forkChild(asked)
    yield* simulator.until(() => simulator.turns.length + simulator.counters.unread > 0)
    yield* TestClock.adjust("31 minutes")
    yield* Fiber.join(fiber)
  })

const broken = Layer.succeed(Dialer, { dial: () => Effect.die(new Error("a defect of the dialer")) })

interface Kind {
  readonly what: string
  readonly run: Effect.Effect<unknown, never, Simulator | TestProxy>
  readonly says: ReadonlyArray<string>
  readonly settings?: SettingsOptions
  readonly dialer?: Layer.Layer<Dialer>
}

const nowhere: SettingsOptions = { upstreamUrl: "http://127.0.0.1:1/v1" }

const kinds: ReadonlyArray<Kind> = [
  {
    what: "an error of the upstream's",
    run: failing(error(0, 500, "server_error"), greet(false)),
    says: ["status=500", "outcome=upstream_error", "upstreamStatus=500", "upstreamCode=server_error"],
  },
  {
    what: "an error in the middle of a stream",
    run: failing(error(5, 429, "rate_limit_exceeded"), greet(true)),
    says: ["status=200", "outcome=upstream_error", "upstreamStatus=429", "upstreamCode=rate_limit_exceeded"],
  },
  {
    what: "an error on a client's socket",
    run: failing(error(0, 503, "server_is_overloaded"), onSocket),
    says: ["status=503", "outcome=upstream_error", "upstreamStatus=503", "upstreamCode=server_is_overloaded"],
  },
  {
    what: "an error in the middle of an answer on a client's socket",
    run: failing(error(5, 400, "bad_thing"), onSocket),
    says: ["status=200", "outcome=upstream_error", "upstreamStatus=400", "upstreamCode=bad_thing"],
  },
  ...[true, false].map((stream) => ({
    what: `a response that failed (stream: ${stream})`,
    run: failing({ _tag: "Failed", at: 4, code: "server_error", message: "No." }, greet(stream)),
    says: ["status=200", "outcome=failed", "upstreamCode=server_error"],
  })),
  {
    what: "an upstream that hangs up in the middle of a stream",
    run: failing({ _tag: "Close", at: 5, code: 1011 }, greet(true)),
    says: ["status=200", "outcome=upstream_closed"],
  },
  {
    what: "an upstream that hangs up in the middle of an answer in one piece",
    run: failing({ _tag: "Reset", at: 5 }, greet(false)),
    says: ["status=502", "outcome=upstream_closed"],
  },
  {
    what: "what is no JSON",
    run: failing({ _tag: "InvalidJson", at: 5 }, greet(false)),
    says: ["status=502", "outcome=upstream_protocol"],
  },
  {
    what: "a binary frame",
    run: failing({ _tag: "BinaryFrame", at: 5 }, greet(true)),
    says: ["status=200", "outcome=upstream_protocol"],
  },
  {
    what: "a refusal before anything else",
    run: failing({ _tag: "Refuse", status: 500, code: "refused", message: "No." }, greet(true)),
    says: ["status=500", "outcome=upstream_error", "upstreamStatus=500", "upstreamCode=refused"],
  },
  {
    what: "silence in the middle of a stream",
    run: inTime(failing({ _tag: "Stall", at: 5 }, greet(true))),
    says: ["status=200", "outcome=event_timeout"],
  },
  {
    what: "silence from the beginning on",
    run: inTime(failing({ _tag: "Stall", at: 0 }, greet(false))),
    says: ["status=504", "outcome=first_event_timeout"],
  },
  {
    what: "an upstream that is not there",
    run: greet(false),
    settings: { ...nowhere, transport: "http" },
    says: ["status=502", "outcome=upstream_unreachable"],
  },
  {
    what: "a socket that can't be had",
    run: greet(true),
    settings: { ...nowhere, transport: "websocket" },
    says: ["status=502", "outcome=dial_failed"],
  },
  {
    what: "an upgrade that is refused",
    run: Effect.flatMap(Simulator, ({ configure }) =>
      Effect.andThen(configure({ upgradeRefusal: { status: 503, body: "{}" } }), greet(false)),
    ),
    settings: { transport: "websocket" },
    says: ["status=503", "outcome=upgrade_refused", "upstreamStatus=503"],
  },
  {
    what: "a pool that is full",
    run: besideAnother(post({ input: [user("Other")] }, { headers: { "session-id": "other" } })),
    settings: { transport: "websocket", maxConnections: 1 },
    says: ["status=503", "outcome=pool_full"],
  },
  {
    what: "a defect",
    run: greet(false),
    dialer: broken,
    says: ["status=500", "outcome=internal"],
  },
  {
    what: "more requests than there is room for",
    run: besideAnother(post({ input: [user("Other")] })),
    settings: { maxTurns: 1 },
    says: ["method=POST path=/v1/responses", "status=503", "code=server_overloaded"],
  },
  {
    what: "more messages on a client's socket than there is room for",
    run: besideAnother(onSocket),
    settings: { maxTurns: 1 },
    says: ["message=request", "status=503", "code=server_overloaded"],
  },
  {
    what: "a list of models that can't be had",
    run: get("/models"),
    settings: nowhere,
    says: ["method=GET path=/v1/models", "status=502", "code=upstream_unreachable"],
  },
  {
    what: "a compaction that can't be had",
    run: post({ input: [] }, { path: "/responses/compact" }),
    settings: nowhere,
    says: ["method=POST path=/v1/responses/compact", "status=502", "code=upstream_unreachable"],
  },
]

describe("The log at level warn", () => {
  for (const { dialer, run, says, settings, what } of kinds) {
    it.effect(`has one line with status and code of ${what}`, () =>
      Effect.gen(function* () {
        const { logged } = yield* TestProxy
        yield* run
        yield* eventually(
          () => ofRequests(logged).length > 0,
          () => `a line: ${logged.join("\n")}`,
        )
        const lines = ofRequests(logged)
        assert.strictEqual(lines.length, 1, lines.join("\n"))
        for (const word of ["level=WARN", ...says]) assert.include(` ${lines[0]} `, ` ${word} `)
        assert.notInclude(logged.join("\n"), "test-key")
      }).pipe(Effect.provide(proxied(settings, "Warn", dialer))),
    )
  }
})

describe("The log at level info", () => {
  it.effect("has one line for each request, refused and passed on ones too", () =>
    Effect.gen(function* () {
      const { logged, url } = yield* TestProxy
      const asked: ReadonlyArray<
        readonly [asked: Effect.Effect<unknown, never, TestProxy>, ...says: ReadonlyArray<string>]
      > = [
        [post("{"), "method=POST path=/v1/responses status=400 code=invalid_json"],
        [post(`{"input":1,"input":2}`), "status=400 code=duplicate_member"],
        [get("/nothing"), "method=GET path=/v1/nothing status=404"],
        [get("/../nothing?key=test-key-hidden"), "path=/nothing status=404 code=unknown_url"],
        [get("/responses"), "method=GET path=/v1/responses status=405 code=method_not_allowed"],
        [
          get("/models", { headers: { upgrade: "websocket", connection: "upgrade" } }),
          "status=426 code=websocket_not_supported",
        ],
        [
          get("/models", { headers: { origin: "https://attacker.test" }, key: undefined }),
          "status=403 code=origin_not_allowed",
        ],
        [
          get("/models", { headers: { "x-request-id": "mine" } }),
          "request=mine",
          "path=/v1/models status=200 upstreamStatus=200",
        ],
        [Effect.scoped(socket()), "method=GET path=/v1/responses status=101"],
      ]
      for (const [ask, ...says] of asked) {
        const before = logged.length
        yield* ask
        yield* eventually(
          () => logged.length > before,
          () => says.join(" "),
        )
        assert.strictEqual(logged.length, before + 1, logged.slice(before).join("\n"))
        for (const word of ["level=INFO", "message=request", "client=127.0.0.1", ...says])
          assert.include(logged.at(-1), word)
      }
      assert.notInclude(logged.join("\n"), "test-key")
      yield* get("/../readyz")
      assert.notInclude(logged.at(-1), "readyz", url)
    }).pipe(Effect.provide(proxied({}, "Info"))),
  )

  it.effect("has a line of a key that is not known", () =>
    Effect.gen(function* () {
      const { keysFile } = yield* makeTenancy
      const keys: SettingsOptions = { auth: "keys", keysFile, upstreamApiKey: Redacted.make(upstreamKey) }
      yield* Effect.gen(function* () {
        const { logged } = yield* TestProxy
        yield* post({ input: [] }, { key: "respool_unknown" })
        yield* get("/models", { key: "respool_unknown" })
        yield* eventually(
          () => logged.length > 1,
          () => "both lines",
        )
        for (const line of logged) assert.include(line, "status=401 code=invalid_api_key")
        assert.notInclude(logged.join("\n"), "respool_unknown")
      }).pipe(Effect.provide(proxied(keys, "Info")))
    }).pipe(Effect.scoped),
  )

  it.effect("counts a flood, and says how much of it was left out", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      yield* Effect.forEach(Array.from({ length: 130 }), () => get("/../nothing"), { concurrency: 16 })
      yield* post("{")
      yield* eventually(
        () => logged.length >= 101,
        () => String(logged.length),
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(logged.filter((line) => line.includes("status=404")).length, 100)
      assert.strictEqual(logged.filter((line) => line.includes("status=400")).length, 1)
      assert.match(logged.at(-1) ?? "", /level=WARN .*left out.* kind="request 404" lines=30$/)
      yield* get("/../nothing")
      yield* eventually(
        () => logged.length === 103,
        () => logged.slice(100).join("\n"),
      )
    }).pipe(Effect.provide(proxied({}, "Info"))),
  )
})

describe("The log at level debug", () => {
  it.effect("tells of dials, ends of connections and further attempts, in plain fields", () =>
    Effect.gen(function* () {
      const { logged } = yield* TestProxy
      yield* failing({ _tag: "Close", at: 0, code: 1011 }, greet(false))
      yield* get("/../readyz")
      const says = (pattern: RegExp) => logged.filter((line) => pattern.test(line)).length
      assert.strictEqual(says(/level=DEBUG .*"a connection opened" upstream=default connectionId=\d dialMs=\d+$/), 2)
      assert.strictEqual(says(/level=DEBUG .*"a connection ended" upstream=default connectionId=1 reason=closed/), 1)
      assert.strictEqual(says(/level=DEBUG .*"a turn is tried again" request=req_\w+ reason=upstream_closed$/), 1)
      yield* eventually(
        () => says(/level=DEBUG .*message=request .*path=\/readyz status=200/) === 1,
        () => logged.join("\n"),
      )
    }).pipe(Effect.provide(proxied({}, "Debug"))),
  )
})
