/**
 * Which server the simulator is given: Bun's, or elsewhere that of `node:http` with `ws`.
 */
import type { Listen } from "./Listener.ts"

/** Loaded when it is known which of the two it is. */
export const listen: Listen = async (port, handlers) =>
  "Bun" in globalThis
    ? (await import("./ListenerBun.ts")).listenOnBun(port, handlers)
    : (await import("./ListenerNode.ts")).listenOnNode(port, handlers)
