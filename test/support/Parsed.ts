/**
 * Reads JSON that may be none.
 */
import type { JsonObject } from "../../src/simulator/JsonText.ts"
import { isObject } from "../../src/simulator/JsonText.ts"

/** Undefined where the text is no JSON. */
export const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Undefined where the text is no JSON object. */
export const objectIn = (text: string): JsonObject | undefined => {
  const value = parsed(text) as JsonObject | undefined
  return value !== undefined && isObject(value) ? value : undefined
}
