/**
 * Sends requests that are no turns to the upstream that serves their model, and asks all upstreams for their models.
 *
 * A request that names no model goes to the default upstream. The list of models is made of what each upstream tells,
 * without the models that are not sent to it; the ChatGPT backend's own form is read as well, and is what Codex gets. One that can't be asked is left out with a line in the log; when none can
 * be asked, the client gets the default upstream's answer.
 */
import { Duration, Effect, Layer, Option, Result, Stream } from "effect"
import { readAnswer, readRefusal } from "../../turn/AnswerBody.ts"
import { anonymous } from "../../turn/Caller.ts"
import type { ForwardAnswer, ForwardRequest } from "../../turn/Forwarder.ts"
import { Forwarder } from "../../turn/Forwarder.ts"
import { TurnError } from "../../turn/TurnError.ts"
import { HttpUpstream } from "./HttpUpstream.ts"
import { Routing } from "../route/Routing.ts"
import type { Upstream } from "../route/Upstreams.ts"
import { Upstreams } from "../route/Upstreams.ts"

interface Model {
  readonly id: string
  /** As the API lists it. */
  readonly entry: object
  /** As the ChatGPT backend lists it for Codex; undefined: it comes of another list. */
  readonly ofCodex: object | undefined
}

const hasText = <N extends string>(value: unknown, name: N): value is Readonly<Record<N, string>> =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, name) === "string"

/** The list in the API's form, or in the form of the ChatGPT backend; undefined: the text is neither. */
const modelsIn = (text: string): ReadonlyArray<Model> | undefined => {
  const list = Option.getOrUndefined(Option.liftThrowable((json: string): unknown => JSON.parse(json))(text))
  if (typeof list !== "object" || list === null) return undefined
  if ("data" in list && Array.isArray(list.data)) {
    return list.data
      .filter((entry) => hasText(entry, "id"))
      .map((entry) => ({ id: entry.id, entry, ofCodex: undefined }))
  }
  if (!("models" in list) || !Array.isArray(list.models)) return undefined
  return list.models
    .filter((entry) => hasText(entry, "slug"))
    .map((entry) => ({
      id: entry.slug,
      entry: { id: entry.slug, object: "model", created: 0, owned_by: "openai" },
      ofCodex: entry,
    }))
}

/** Codex asks so, and reads the form of the ChatGPT backend; which that backend tells nobody who does not ask so. */
const asksAsCodex = (path: string): boolean => /[?&]client_version=/.test(path)

/** Stands for a client that is not Codex, and has no version of it. */
const clientVersion = "client_version=0.169.0"

const asCodex = (path: string): string =>
  asksAsCodex(path) ? path : `${path}${path.includes("?") ? "&" : "?"}${clientVersion}`

/** An upstream that is slow to answer must not keep the others' models from the client. */
const listWithin = Duration.seconds(10)

const json = (text: string): ForwardAnswer => ({
  status: 200,
  headers: { "content-type": "application/json" },
  body: Stream.make(new TextEncoder().encode(text)),
})

const make = Effect.gen(function* () {
  const upstreams = yield* Upstreams
  const routing = yield* Routing
  const { send } = yield* HttpUpstream

  /** The whole of one upstream's answer; its request has ended by then. */
  const told = (upstream: Upstream, request: ForwardRequest) =>
    Effect.scoped(
      Effect.gen(function* () {
        const answer = yield* send(yield* routing.to(upstream, request.caller), {
          ...request,
          path: upstream.known.codex ? asCodex(request.path) : request.path,
          scope: yield* Effect.scope,
        })
        const text = yield* answer.status === 200 ? readAnswer(answer) : readRefusal(answer)
        const models = answer.status === 200 ? modelsIn(text) : undefined
        return { ...answer, models, body: Stream.make(new TextEncoder().encode(text)) }
      }),
    ).pipe(Effect.timeoutOrElse({ duration: listWithin, orElse: () => Effect.fail(slow) }))

  const leftOut = (upstream: Upstream, why: string) =>
    Effect.logWarning("an upstream did not tell its models").pipe(
      Effect.annotateLogs({ upstream: upstream.name, error: why }),
    )

  const allModels = Effect.fnUntraced(function* (request: ForwardRequest) {
    const asked = yield* Effect.forEach(
      upstreams.all(),
      (upstream) => Effect.map(Effect.result(told(upstream, request)), (result) => ({ result, upstream })),
      { concurrency: "unbounded" },
    )
    const lists: Array<Model> = []
    let answered = asked.length
    for (const { result, upstream } of asked) {
      const models = Result.isSuccess(result) ? result.success.models : undefined
      if (models === undefined) {
        answered--
        yield* leftOut(upstream, Result.isFailure(result) ? result.failure.message : "its answer is no list of models")
      } else lists.push(...models.filter(({ id }) => upstreams.forModel(id) === upstream))
    }
    if (answered === 0 && asked[0] !== undefined) return yield* Effect.fromResult(asked[0].result)
    const ofCodex = asksAsCodex(request.path) ? lists.flatMap((model) => model.ofCodex ?? []) : []
    return json(
      JSON.stringify(
        ofCodex.length > 0 ? { models: ofCodex } : { object: "list", data: lists.map(({ entry }) => entry) },
      ),
    )
  })

  const modelOf = ({ model, path }: ForwardRequest): string | undefined => {
    const named = /^\/models\/([^/?]+)/.exec(path)?.[1]
    return model ?? (named === undefined ? undefined : decoded(named))
  }

  const forward = Effect.fn("Forwarder.forward")(function* (request: ForwardRequest) {
    const several = upstreams.all().length > 1
    if (several && request.method === "GET" && /^\/models(\?|$)/.test(request.path)) return yield* allModels(request)
    return yield* send(yield* routing.model(several ? modelOf(request) : undefined, request.caller), request)
  })

  /** A client certificate is one, too. What can't be had now may be had by the time it is needed. */
  const hasOwn = (upstream: Upstream): Effect.Effect<boolean> =>
    upstream.credential._tag !== "Caller" || upstream.tls?.cert !== undefined
      ? Effect.succeed(true)
      : Effect.match(routing.to(upstream, anonymous), {
          onFailure: () => true,
          onSuccess: ({ shown }) => shown !== undefined,
        })

  return Forwarder.of({
    forward,
    needsModel: () => upstreams.all().length > 1,
    addsCredential: Effect.suspend(() => Effect.findFirst(upstreams.all(), hasOwn)).pipe(Effect.map(Option.isSome)),
  })
})

const decoded = (part: string): string => Option.getOrElse(Option.liftThrowable(decodeURIComponent)(part), () => part)

const slow = new TurnError({
  reason: "upstream_unreachable",
  delivery: "Ambiguous",
  message: "the upstream did not tell its models in time",
})

export const layerNoDeps = Layer.effect(Forwarder, make)
