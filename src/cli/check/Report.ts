/**
 * What an examination found, as plain data, and the one sentence that follows from it.
 */
import type { Redacted } from "effect"

/** An upstream, and how it is reached. */
export interface Target {
  readonly name: string
  /** Base URL, `http:` or `https:`, without a slash at the end. */
  readonly url: string
  /** Sent on the upgrade and with every request, the credential among them; undefined: there is no credential. */
  readonly headers: Redacted.Redacted<Readonly<Record<string, string>>> | undefined
  readonly transport: "auto" | "websocket" | "http"
  /** The rules of the ChatGPT backend hold: instructions are needed, and no limit of the output is known. */
  readonly codex?: boolean
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined
  readonly tlsVerify: "on" | "off"
  /** The proxy on the way to `url`, from the settings or the environment. */
  readonly proxy: Redacted.Redacted<string> | undefined
}

export type Outcome = "ok" | "warn" | "FAIL"

export interface Step {
  readonly name:
    | "credential"
    | "resolve"
    | "connect"
    | "tunnel"
    | "tls"
    | "upgrade"
    | "authenticate"
    | "models"
    | "warm-up"
    | "turn"
  readonly outcome: Outcome
  /** How long it took, in milliseconds. */
  readonly ms: number
  readonly message: string
}

/** 0: it works over WebSocket; 1: it does not work, or could not be tried; 2: it works over HTTP only. */
export type ExitCode = 0 | 1 | 2

export interface Report {
  readonly name: string
  readonly url: string
  readonly steps: ReadonlyArray<Step>
  readonly verdict: string
  readonly exitCode: ExitCode
}

/** How far it went over a socket. */
export type OverSocket =
  /** A turn continued what came before. */
  | "continued"
  /** A turn was answered, but nothing could be continued by it. */
  | "answered"
  | "opened"
  /** Something failed that respool meets by going over HTTP. */
  | "unusable"
  /** Something failed that would fail over HTTP as well. */
  | "refused"
  /** The upgrade was forbidden, which respool does not go around by itself. */
  | "barred"
  | "untried"

export interface Findings {
  readonly overSocket: OverSocket
  readonly overHttp: boolean
  /** Whether a turn was asked for. */
  readonly turn: boolean
  /** What kept a turn from being tried. */
  readonly missing: string | undefined
  readonly transport: "auto" | "websocket" | "http"
  /** What the first step that failed said. */
  readonly why: string
}

export const conclude = (found: Findings): Pick<Report, "verdict" | "exitCode"> => {
  const { missing, overHttp, overSocket, transport, turn, why } = found
  if (overSocket === "continued") return { exitCode: 0, verdict: "Turns go over WebSocket and continue." }
  if (overSocket === "answered") {
    return { exitCode: 0, verdict: "Turns go over WebSocket; whether they continue could not be shown." }
  }
  if (overSocket === "opened" && !turn) return { exitCode: 0, verdict: "The WebSocket opens; no turn was tried." }
  if (missing !== undefined) return { exitCode: 1, verdict: `Whether turns work could not be tried: ${missing}.` }
  if (transport === "http" && overHttp) {
    return { exitCode: 2, verdict: "Works over HTTP only: RESPOOL_TRANSPORT is http, so no WebSocket was tried." }
  }
  if (overSocket === "unusable" && overHttp) {
    return transport === "websocket"
      ? { exitCode: 1, verdict: `Does not work: RESPOOL_TRANSPORT is websocket, and only HTTP works: ${why}.` }
      : { exitCode: 2, verdict: `Works over HTTP only: ${why}.` }
  }
  if (overSocket === "barred" && overHttp) {
    return { exitCode: 1, verdict: `Does not work as it is, but HTTP does: set RESPOOL_TRANSPORT=http, or: ${why}.` }
  }
  return { exitCode: 1, verdict: `Does not work: ${why}.` }
}
