/**
 * Counts the bytes of all answers that wait for slow clients. One figure for the process, since it only says how much
 * memory they take; it is touched where something waits, and not by an answer that flows.
 */
export const buffered = { bytes: 0 }
