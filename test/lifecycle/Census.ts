/**
 * The census of `respool/testing`, where it now lives.
 */
export { Census } from "../../src/testing/Census.ts"
