/**
 * One tab of the browser, driven from here: what the page shows, what it asks for, and how it looks.
 */
import { Deferred, Effect, Exit } from "effect"

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: Readonly<Record<string, unknown>>
  readonly result?: Readonly<Record<string, unknown>>
  readonly error?: { readonly message: string }
}

interface Evaluated {
  readonly result: { readonly value?: unknown }
  readonly exceptionDetails?: { readonly text: string; readonly exception?: { readonly description?: string } }
}

export interface Tab {
  readonly go: (url: string) => Effect.Effect<void>
  /** Does what leads to another page, and waits until that is there. */
  readonly loaded: (action: Effect.Effect<unknown>) => Effect.Effect<void>
  /** The value of an expression in the page, awaited. */
  readonly evaluate: <A>(expression: string) => Effect.Effect<A>
  /** Waits until an expression in the page is true; looks whenever the page changes. */
  readonly until: (expression: string) => Effect.Effect<void>
  /** Presses a key, as a person does. */
  readonly press: (key: string) => Effect.Effect<void>
  readonly looks: (look: { readonly scheme?: "light" | "dark"; readonly width?: number }) => Effect.Effect<void>
  /** A PNG of what is seen. */
  readonly screenshot: Effect.Effect<Uint8Array>
  /** Addresses that pages of the tab asked for, so far. */
  readonly requests: ReadonlyArray<string>
  /** What the browser complained about: errors of the page, and what its policy refused. */
  readonly complaints: ReadonlyArray<string>
}

const codes: Readonly<Record<string, number>> = { Tab: 9, Enter: 13, Escape: 27 }

/** `control`: where the browser takes commands. The tab is closed with the scope. */
export const openTab = Effect.fnUntraced(function* (control: string) {
  const target = yield* Effect.promise(async () => {
    const answer = await fetch(`${control}/json/new?about:blank`, { method: "PUT" })
    return (await answer.json()) as { readonly webSocketDebuggerUrl: string }
  })
  const requests: Array<string> = []
  const complaints: Array<string> = []
  const waiting = new Map<number, (message: Message) => void>()
  const socket = yield* Effect.acquireRelease(
    Effect.callback<WebSocket>((resume) => {
      const socket = new WebSocket(target.webSocketDebuggerUrl)
      socket.addEventListener("open", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.close()),
  )
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(String(data)) as Message
    if (message.id !== undefined) {
      waiting.get(message.id)?.(message)
      waiting.delete(message.id)
      return
    }
    const { params = {} } = message
    if (message.method === "Network.requestWillBeSent") {
      requests.push((params["request"] as { readonly url: string }).url)
    } else if (message.method === "Log.entryAdded") {
      const { level, text } = params["entry"] as { readonly level: string; readonly text: string }
      if (level === "error" || level === "warning") complaints.push(text)
    } else if (message.method === "Runtime.exceptionThrown") {
      complaints.push(JSON.stringify(params["exceptionDetails"]))
    }
  })
  let last = 0
  const send = (method: string, params: Readonly<Record<string, unknown>> = {}) =>
    Effect.callback<Readonly<Record<string, unknown>>>((resume) => {
      const id = ++last
      waiting.set(id, ({ error, result = {} }) =>
        resume(error === undefined ? Effect.succeed(result) : Effect.die(new Error(`${method}: ${error.message}`))),
      )
      socket.send(JSON.stringify({ id, method, params }))
    })
  yield* Effect.forEach(["Network", "Page", "Runtime", "Log"], (domain) => send(`${domain}.enable`), { discard: true })
  const evaluate = <A>(expression: string) =>
    Effect.flatMap(
      send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }),
      (answer): Effect.Effect<A> => {
        const { exceptionDetails, result } = answer as unknown as Evaluated
        if (exceptionDetails === undefined) return Effect.succeed(result.value as A)
        const { exception, text } = exceptionDetails
        return Effect.die(new Error(`${expression}: ${exception?.description ?? text}`))
      },
    )
  const loaded = (action: Effect.Effect<unknown>) =>
    Effect.gen(function* () {
      const load = yield* Deferred.make<void>()
      const listen = ({ data }: MessageEvent) => {
        if ((JSON.parse(String(data)) as Message).method === "Page.loadEventFired") Deferred.doneUnsafe(load, Exit.void)
      }
      socket.addEventListener("message", listen)
      yield* action
      yield* Deferred.await(load)
      socket.removeEventListener("message", listen)
    })
  const tab: Tab = {
    requests,
    complaints,
    evaluate,
    loaded,
    go: (url) => loaded(send("Page.navigate", { url })),
    until: (expression) =>
      evaluate(`new Promise((resolve) => {
        const look = () => (${expression}) && resolve(true)
        new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
        look()
      })`),
    press: (key) => {
      const event = { key, code: key, windowsVirtualKeyCode: codes[key], ...(key === "Enter" ? { text: "\r" } : {}) }
      return Effect.andThen(
        send("Input.dispatchKeyEvent", { type: "keyDown", ...event }),
        Effect.asVoid(send("Input.dispatchKeyEvent", { type: "keyUp", ...event })),
      )
    },
    looks: ({ scheme = "light", width = 1280 }) =>
      Effect.andThen(
        send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] }),
        Effect.asVoid(
          send("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: width < 600 }),
        ),
      ),
    screenshot: Effect.map(send("Page.captureScreenshot", { format: "png" }), ({ data }) =>
      Buffer.from(String(data), "base64"),
    ),
  }
  return tab
})
