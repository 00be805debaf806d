// Composes an app of respool's parts, and replaces each service by another layer, one at a time. Prints the services that
// the package exports, and those whose replacement was used.
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem"
import * as NodePath from "@effect/platform-node-shared/NodePath"
import { Effect, Layer, Redacted, References } from "effect"
import { HttpRouter, HttpServer } from "effect/http"

// Not by a static import, whose names are looked up in what was built before.
const Respool = await import("respool")
const [url] = process.argv.slice(2)

const isService = (value) => typeof value?.key === "string" && value.key.startsWith("respool/")

/** Every service that is exported, by its key. */
const exported = new Map()
for (const value of Object.values(Respool)) {
  for (const service of isService(value) ? [value] : Object.values(Object(value))) {
    if (isService(service)) exported.set(service.key, service)
  }
}

/** What some services are there for: a key of the proxy's, and a tenant of a shared account. */
const scopeFor = (replaced) => {
  if (replaced === Respool.Keys) return Respool.AuthScope.layerKeys
  if (replaced !== Respool.Ownership) return Respool.AuthScope.layerPassthrough
  const credential = Respool.appCredential(Redacted.make("Bearer test-key-a"))
  return Respool.AuthScope.layer(() => Effect.succeed({ scope: "t", label: "t", credential, tenant: true }))
}

/** The default layers, each above those that it needs. */
const parts = (replaced) => [
  [Respool.Settings, Respool.Settings.layer({ upstreamUrl: url, port: 0 })],
  [Respool.Observing.Observing, Respool.Observing.layer],
  [Respool.Tracing.Tracing, Layer.succeed(Respool.Tracing.Tracing, () => undefined)],
  [Respool.Dialer, Respool.layerDialerBun],
  [Respool.Revocation, Respool.Revocation.layer],
  [Respool.Upstreams, Respool.Upstreams.layerNoDeps],
  [Respool.Credentials, Respool.Credentials.layerFixed],
  [Respool.TurnMemory, Respool.TurnMemory.layer],
  [Respool.BodyHeads, Respool.BodyHeads.layer],
  [Respool.Availability, Respool.Availability.layer],
  [Respool.ConnectionPool, Respool.ConnectionPool.layerNoDeps],
  [Respool.Evictor, Respool.Evictor.layerNoDeps],
  [Respool.Routing, Respool.Routing.layerNoDeps],
  [Respool.HttpUpstream, Respool.HttpUpstream.layer],
  [Respool.WebSocketExecutor, Respool.WebSocketExecutor.layerNoDeps],
  [Respool.HttpExecutor, Respool.HttpExecutor.layerNoDeps],
  [Respool.FallbackExecutor, Respool.FallbackExecutor.layerNoDeps],
  [Respool.Executor, Respool.FallbackExecutor.layerExecutor],
  [Respool.Forwarder, Respool.Forwarding.layerNoDeps],
  [Respool.Keys, Respool.Keys.layer([])],
  [Respool.AuthScope, scopeFor(replaced)],
  [Respool.Ownership, Respool.Ownership.layerOff],
  [Respool.Session, Respool.Session.layer()],
  [Respool.Intake, Respool.Intake.layerNoDeps],
  [Respool.Turns, Respool.Turns.layerNoDeps],
  [Respool.Answers, Respool.Answers.layerNoDeps],
  [Respool.Admission, Respool.Admission.layerNoDeps],
  [Respool.PassThrough, Respool.PassThrough.layerNoDeps],
  [HttpServer.HttpServer, Respool.BunServer.layer({ hostname: "127.0.0.1", port: 0 })],
  [Respool.Draining, Layer.effect(Respool.Draining, Respool.Draining)],
  [Respool.ListeningCertificate, Layer.succeed(Respool.ListeningCertificate, { replace: () => Effect.void })],
  [Respool.ClientSockets, Respool.ClientSockets.layerNoDeps],
  [Respool.FetchFront, Respool.FetchFront.layerNoDeps],
  [Respool.Overview, Respool.Overview.layerNoDeps],
  [Respool.Reload, Respool.Reload.layer],
]

/** The same service by another layer, which tells when it is used. */
const replacement = (service, part, used) => {
  const telling = (real) =>
    new Proxy(real, {
      get: (target, name) => {
        used()
        const value = target[name]
        return typeof value === "function" ? value.bind(target) : value
      },
      apply: (target, self, given) => {
        used()
        return Reflect.apply(target, self, given)
      },
    })
  return Layer.effect(service, Effect.map(service, telling)).pipe(Layer.provide(part))
}

const headers = { authorization: "Bearer test-key-a", "content-type": "application/json" }
const body = JSON.stringify({ model: "gpt-5.5", input: "hello" })

const overSocket = (address) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(`${address.replace("http", "ws")}/v1/responses`, { headers })
    socket.onopen = () => socket.send(`{"type":"response.create",${body.slice(1)}`)
    socket.onmessage = ({ data }) => {
      if (!data.includes('"response.completed"')) return
      socket.close()
      resolve()
    }
    socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`))
    socket.onerror = () => reject(new Error("the socket failed"))
  })

/** A turn over HTTP, one that has no socket upstream, one on a client's socket, one in the process, a request that is no turn, and what an app asks. */
const drive = (isKnown) =>
  Effect.gen(function* () {
    const address = yield* HttpServer.addressFormattedWith(Effect.succeed)
    yield* Effect.promise(async () => {
      const turn = await fetch(`${address}/v1/responses`, { method: "POST", headers, body })
      await turn.text()
      const inBackground = `{"background":true,${body.slice(1)}`
      await (await fetch(`${address}/v1/responses`, { method: "POST", headers, body: inBackground })).text()
      const models = await fetch(`${address}/v1/models`, { headers })
      await models.text()
      if (!isKnown) return
      if (turn.status !== 200 || models.status !== 200) throw new Error(`${turn.status}, ${models.status}`)
      await overSocket(address)
    })
    const front = yield* Respool.FetchFront
    const answer = yield* front.answer({ headers, query: "", bytes: new TextEncoder().encode(body) })
    yield* Effect.promise(() => answer.text())
    const [evictor, overview] = [yield* Respool.Evictor, yield* Respool.Overview]
    void [Object.values(evictor), Object.values(overview)]
    void (yield* Respool.Draining).begun
    void (yield* Respool.ListeningCertificate).replace
    yield* (yield* Respool.Reload).now
  })

const used = new Set()
for (const service of exported.values()) {
  let app = Layer.merge(NodeFileSystem.layer, NodePath.layer)
  for (const [one, part] of parts(service)) {
    const taken = one === service ? replacement(service, part, () => used.add(service.key)) : part
    app = Layer.provideMerge(taken, app)
  }
  const served = HttpRouter.serve(Respool.Routes.layerNoDeps, { disableLogger: true, disableListenLog: true }).pipe(
    Layer.provideMerge(app),
  )
  const program = Effect.gen(function* () {
    const context = yield* Layer.build(served)
    yield* Effect.provide(drive(service !== Respool.Keys), context)
  })
  await Effect.runPromise(program.pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None")))
}
console.log(JSON.stringify({ exported: [...exported.keys()].sort(), used: [...used].sort() }))
process.exit(0)
