/**
 * The types of events that there are: those that the sources name, those that OpenAI's SDK declares, and some of nobody.
 *
 * They are read from the texts, so a type that is added to either is tried by every test that goes through them all.
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))

const read = (file: string) => readFileSync(`${root}${file}`, "utf8")

const named = /["'`]((?:response|codex|responsesapi)\.[a-z_.]*[a-z])["'`]/g

const typesIn = (text: string) => [...text.matchAll(named)].flatMap(([, type]) => (type === undefined ? [] : [type]))

const ofTheSources = () =>
  [...new Bun.Glob("src/**/*.ts").scanSync({ cwd: root })].flatMap((file) => typesIn(read(file)))

const ofTheSdk = () => typesIn(read("node_modules/openai/resources/responses/responses.d.ts"))

/** In the order of their names, without those of client events. */
export const eventTypes: ReadonlyArray<string> = [
  ...new Set([...ofTheSources(), ...ofTheSdk(), "error", "keepalive", "response.of_nobody.delta", "of_nobody", ""]),
]
  .filter((type) => type !== "response.create")
  .sort()
