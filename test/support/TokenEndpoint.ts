/**
 * A token endpoint (RFC 6749, section 6) on loopback.
 */
import { Deferred, Effect } from "effect"
import { serve } from "./Serve.ts"

export interface Granted {
  readonly status?: number
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
}

/** `asked`: the forms it got. It answers what it is given, the last again and again; else with a token of its own each time. */
export const tokenEndpoint = (...answers: ReadonlyArray<Granted | "silence">) =>
  Effect.gen(function* () {
    const asked: Array<Readonly<Record<string, string>>> = []
    const first = yield* Deferred.make<void>()
    const hold: { until: Promise<void> } = { until: Promise.resolve() }
    const { port } = yield* serve(async (request) => {
      asked.push(Object.fromEntries(new URLSearchParams(await request.text())))
      const at = asked.length
      Deferred.doneUnsafe(first, Effect.void)
      await hold.until
      const answer = answers[Math.min(at, answers.length) - 1] ?? {}
      if (answer === "silence") return await new Promise<Response>(() => {})
      const { body, headers = {}, status = 200 } = answer
      return Response.json(
        body ?? {
          access_token: `test-token-${at + 1}`,
          refresh_token: `test-refresh-${at + 1}`,
          expires_in: 3600,
        },
        { status, headers },
      )
    })
    return { asked, first, hold, url: `http://127.0.0.1:${port}/token` }
  })
