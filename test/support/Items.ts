/**
 * Items of an `input`, as a client writes them.
 */

/** What a user says. */
export const user = (content: string) => ({ role: "user" as const, content })
