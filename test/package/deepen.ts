/**
 * The last step of `bun run build`: what was built imports each module of effect by its own path and not from the barrel
 * of its folder, since to load a barrel is to load all that is behind it.
 *
 *     import { Effect, pipe } from "effect"
 *     import * as Effect from "effect/Effect"; import { pipe } from "effect/Function"
 *
 * The sources keep the barrels, for readers, and the declarations as well, for which nothing is loaded. An import stays on
 * its line, whose mapping leads to the line's beginning; every other line is mapped as before.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../../", import.meta.url))
const dist = `${root}dist`
const effect = `${root}node_modules/effect`
const { exports } = JSON.parse(readFileSync(`${effect}/package.json`, "utf8")) as {
  readonly exports: Readonly<Record<string, string | null>>
}

/** What a barrel has, by name, with the import that brings it under another name or the same. */
const readBarrel = (path: string): ReadonlyMap<string, (local: string) => string> | undefined => {
  const target = exports[path.replace(/^effect/, ".")]
  if (!target?.endsWith("/index.js")) return undefined
  const text = readFileSync(`${effect}/${target}`, "utf8").replaceAll(/\/\*.*?\*\//gs, "")
  const names = new Map<string, (local: string) => string>()
  for (const [, name = "", file] of text.matchAll(/^export \* as (\w+) from "\.\/(.+?)\.js"/gm)) {
    names.set(name, (local) => `import * as ${local} from "${path}/${file}";`)
  }
  for (const [, list = "", file] of text.matchAll(/^export \{([^}]*)\} from "\.\/(.+?)\.js"/gm)) {
    for (const name of list.split(",").map((one) => one.trim())) {
      names.set(name, (local) => `import { ${name === local ? name : `${name} as ${local}`} } from "${path}/${file}";`)
    }
  }
  return names
}

const barrels = new Map<string, ReturnType<typeof readBarrel>>()

const barrel = (path: string) => {
  if (!barrels.has(path)) barrels.set(path, readBarrel(path))
  return barrels.get(path)
}

const deepen = (line: string): string => {
  const [, list = "", path = ""] = /^import \{([^}]*)\} from "(effect(?:\/[^"]*)?)";$/.exec(line) ?? []
  const names = path === "" ? undefined : barrel(path)
  if (names === undefined) return line
  const imports = list.split(",").map((one) => {
    const [name = "", local = name] = one.trim().split(" as ")
    const write = names.get(name)
    if (write === undefined) throw new Error(`${path} has no ${name}`)
    return write(local)
  })
  return imports.join(" ")
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

const decode = (segment: string): Array<number> => {
  const values: Array<number> = []
  let value = 0
  let shift = 0
  for (const digit of segment) {
    const bits = digits.indexOf(digit)
    value += (bits & 31) << shift
    shift += 5
    if ((bits & 32) !== 0) continue
    values.push((value & 1) === 1 ? -(value >> 1) : value >> 1)
    value = shift = 0
  }
  return values
}

const encode = (values: ReadonlyArray<number>): string =>
  values
    .map((signed) => {
      let text = ""
      let value = signed < 0 ? (-signed << 1) | 1 : signed << 1
      do {
        const bits = value & 31
        value >>>= 5
        text += digits[value > 0 ? bits | 32 : bits]
      } while (value > 0)
      return text
    })
    .join("")

/** Leaves of each of these lines only what its first segment says. All but the first field count on from the segment before. */
const remap = (mappings: string, lines: ReadonlySet<number>): string => {
  let owed = [0, 0, 0, 0]
  return mappings
    .split(";")
    .map((segments, line) =>
      segments
        .split(",")
        .filter((segment) => segment !== "")
        .flatMap((segment, at) => {
          const [column = 0, ...fields] = decode(segment)
          if (lines.has(line) && at > 0) {
            owed = owed.map((sum, field) => sum + (fields[field] ?? 0))
            return []
          }
          const paid = fields.map((field, of) => field + (owed[of] ?? 0))
          owed = owed.map((sum, of) => (of < fields.length ? 0 : sum))
          return [encode([column, ...paid])]
        })
        .join(","),
    )
    .join(";")
}

let deepened = 0
for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
  if (!name.endsWith(".js")) continue
  const lines = readFileSync(`${dist}/${name}`, "utf8").split("\n")
  const changed = new Set<number>()
  const written = lines.map((line, at) => {
    const deep = deepen(line)
    if (deep !== line) changed.add(at)
    return deep
  })
  if (changed.size === 0) continue
  deepened++
  writeFileSync(`${dist}/${name}`, written.join("\n"))
  const map = JSON.parse(readFileSync(`${dist}/${name}.map`, "utf8")) as { mappings: string }
  writeFileSync(`${dist}/${name}.map`, JSON.stringify({ ...map, mappings: remap(map.mappings, changed) }))
}
if (deepened === 0) throw new Error("nothing of effect is imported: was it built?")
