/**
 * A dialer without a network: every socket is an object that a test can look into and speak through.
 */
import { Context, Deferred, Effect, Layer } from "effect"
import type { DialRequest, SocketHandlers } from "../../src/upstream/dialer/Dialer.ts"
import { DialError, Dialer } from "../../src/upstream/dialer/Dialer.ts"

export interface TestSocket {
  readonly request: DialRequest
  readonly handlers: SocketHandlers
  /** Texts of the frames that were sent. */
  readonly sent: Array<string>
  pings: number
  paused: boolean
  /** How often it was terminated; must be once in the end. */
  terminated: number
  /** The peer is gone and nobody has noticed yet: `send` writes nothing. */
  dead: boolean
}

/** What a dial does: opens, is refused, or hangs until it is interrupted. */
export type DialOutcome = "open" | "refuse" | "hang"

export class TestDialer extends Context.Service<
  TestDialer,
  {
    readonly sockets: ReadonlyArray<TestSocket>
    /** Dials that have begun. */
    readonly dials: () => number
    /** Sockets that are open now. */
    readonly open: () => number
    readonly outcome: { next: DialOutcome }
    /** Called with every frame that is sent, on its socket. */
    readonly answer: { with: (socket: TestSocket, frame: string) => void }
    /** Done when a dial hangs. */
    readonly hanging: Deferred.Deferred<void>
  }
>()("test/TestDialer") {
  static readonly layer = Layer.effectContext(
    Effect.sync(() => {
      const sockets: Array<TestSocket> = []
      const outcome: { next: DialOutcome } = { next: "open" }
      const answer: { with: (socket: TestSocket, frame: string) => void } = { with: () => {} }
      const hanging = Deferred.makeUnsafe<void>()
      let dials = 0
      const decoder = new TextDecoder()

      const dialer = Dialer.of({
        dial: (request, handlers) =>
          Effect.gen(function* () {
            dials++
            if (outcome.next === "refuse") {
              const answer = { status: 500, headers: {}, body: "no" }
              return yield* new DialError({ reason: "Refused", message: "refused", answer })
            }
            if (outcome.next === "hang") {
              Deferred.doneUnsafe(hanging, Effect.void)
              return yield* Effect.never
            }
            const socket: TestSocket = {
              request,
              handlers,
              sent: [],
              pings: 0,
              paused: false,
              terminated: 0,
              dead: false,
            }
            sockets.push(socket)
            yield* Effect.addFinalizer(() => Effect.sync(() => socket.terminated++))
            return {
              handshake: { status: 101, headers: {} },
              send: (frame: Uint8Array) => {
                if (socket.dead || socket.terminated > 0) return false
                const text = decoder.decode(frame)
                socket.sent.push(text)
                answer.with(socket, text)
                return true
              },
              ping: () => {
                socket.pings++
              },
              bufferedAmount: () => 0,
              pause: () => {
                socket.paused = true
              },
              resume: () => {
                socket.paused = false
              },
            }
          }),
      })
      const service = TestDialer.of({
        sockets,
        dials: () => dials,
        open: () => sockets.filter(({ terminated }) => terminated === 0).length,
        outcome,
        answer,
        hanging,
      })
      return Context.make(Dialer, dialer).pipe(Context.add(TestDialer, service))
    }),
  )
}
