// An app with strict types of its own, which exports what it has made of respool's layers.
import { Effect, Layer } from "effect"
import type { HttpClient } from "effect/http"
import { AuthScope, type Caller, ConnectionPool, Executor, layer, layerHttpClient, Server, Settings } from "respool"
import { createFetch, type RespoolFetch } from "respool/fetch"
import { Simulator } from "respool/simulator"
import * as Testing from "respool/testing"

export const pooled: RespoolFetch = createFetch({ settings: { upstreamUrl: "http://127.0.0.1:9/v1" } })
export const answer = pooled("http://127.0.0.1:9/v1/responses", { method: "POST", body: "{}" })
export const executor = Server.layerExecutor.pipe(Layer.provide(Settings.layer({})))
export const connections = Effect.map(ConnectionPool, (pool) => pool.connections().length)
export const upstream = Simulator.layer({})
export const scope = AuthScope.layer((headers) =>
  Effect.succeed<Caller>({ scope: headers["x-team"], label: "team", credential: undefined, tenant: false }),
)
export const client: Layer.Layer<HttpClient.HttpClient, unknown, HttpClient.HttpClient> = layerHttpClient({
  settings: { retry: "strict" },
})
export const proxy: Layer.Layer<ConnectionPool, unknown> = layer({ port: 0 })
export const services = [Executor, Testing]
