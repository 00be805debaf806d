/**
 * The page of what goes on, at `/_respool/`, and the form that asks for the operator's token where there is one.
 */
import { Duration, Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { readRequestBytes } from "../http/RequestBytes.ts"
import type { OperatorAccess } from "./OperatorAccess.ts"
import { cookieName, nothingThere } from "./OperatorAccess.ts"
import { page, signInPage } from "./Page.ts"
import { notKept, toOperators } from "./OperatorAnswer.ts"

type Request = HttpServerRequest.HttpServerRequest

/** A token has no more bytes, nor has the form with it. */
const longestForm = 4096

export const pageRoutes = (access: OperatorAccess) => {
  /** Whoever may look, or may be asked for the token. */
  const orAsked: OperatorAccess["mayLook"] = (request) =>
    Effect.catch(access.mayLookAtPage(request), (nothing) =>
      Effect.flatMap(access.mayBeAsked(request), (mayBe) => (mayBe ? Effect.void : Effect.fail(nothing))),
    )

  const pageOf = (request: Request) =>
    Effect.matchEffect(access.mayLookAtPage(request), {
      onSuccess: () => page,
      onFailure: () => Effect.succeed(signInPage(undefined)),
    })

  const html = toOperators(orAsked, (request) =>
    Effect.map(pageOf(request), ({ headers, text }) =>
      HttpServerResponse.text(text, { contentType: "text/html; charset=utf-8", headers: { ...notKept, ...headers } }),
    ),
  )

  const signIn = Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (request.method !== "POST" || !(yield* access.mayBeAsked(request))) {
      return yield* nothingThere(request)
    }
    const bytes = yield* readRequestBytes(request, { maxBytes: longestForm, timeout: Duration.seconds(10) })
    const token = new URLSearchParams(new TextDecoder().decode(bytes)).get("token") ?? ""
    const cookie = access.signIn(token.trim())
    if (cookie === undefined) {
      const { headers, text } = signInPage("That is not the token.")
      const options = { status: 401, contentType: "text/html; charset=utf-8", headers: { ...notKept, ...headers } }
      return HttpServerResponse.text(text, options)
    }
    const isSecure = request.protocol === "https" || request.headers["x-forwarded-proto"] === "https"
    return HttpServerResponse.setCookieUnsafe(
      HttpServerResponse.redirect("/_respool/", { status: 303, headers: notKept }),
      cookieName,
      cookie,
      { httpOnly: true, sameSite: "strict", path: "/_respool", secure: isSecure },
    )
  })

  return Layer.mergeAll(
    // With and without the slash.
    HttpRouter.add("*", "/_respool", html),
    HttpRouter.add("*", "/_respool/sign-in", signIn),
  )
}
