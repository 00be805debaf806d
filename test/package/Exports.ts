/**
 * What the package exports, by its entry points: read from the sources, so that nothing new is left out.
 *
 * By hand, and not with typedoc or API Extractor: the first takes TypeScript up to 6, and the second brings a compiler of
 * its own (6.0.3), which would read the declarations of another (7). What is needed is a name, a text and a declaration.
 */
import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import packageJson from "../../package.json" with { type: "json" }

const root = fileURLToPath(new URL("../../", import.meta.url))

/** An exported name, and the file in which it is declared, from the root; a namespace is all of its file. */
export interface Exported {
  readonly name: string
  readonly local: string
  readonly file: string
  readonly isNamespace: boolean
  /** As the entry point says; undefined: it says nothing. */
  readonly stability: string | undefined
}

export interface Entry {
  /** `respool/fetch` */
  readonly name: string
  readonly file: string
  readonly exports: ReadonlyArray<Exported>
}

const doc = "(?:/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?"
const statement = new RegExp(
  `^(${doc})export (?:(?:type )?\\{([^}]*)\\}(?: from "(.+?)")?|\\* as (\\w+) from "(.+?)"|(?:abstract )?(?:const|class|interface|type|function) (\\w+))`,
  "gm",
)

/** Where a local name of the file comes from. */
const importedFrom = (text: string, file: string, local: string): string => {
  const found = [...text.matchAll(/^import (?:type )?\{([^}]*)\} from "(\..+?)"/gm)].find(([, names = ""]) =>
    names.split(",").some((name) => name.trim().replace(/^type /, "") === local),
  )
  return found?.[2] === undefined ? file : join(dirname(file), found[2])
}

const exportsOf = (file: string): ReadonlyArray<Exported> => {
  const text = readFileSync(`${root}${file}`, "utf8")
  return [...text.matchAll(statement)].flatMap(
    ([, said = "", names, from, namespace, ofNamespace, declared]): ReadonlyArray<Exported> => {
      const stability = /@stability (\w+)/.exec(said)?.[1]
      if (namespace !== undefined) {
        const at = join(dirname(file), ofNamespace ?? "")
        return [{ name: namespace, local: namespace, file: at, isNamespace: true, stability }]
      }
      if (declared !== undefined) return [{ name: declared, local: declared, file, isNamespace: false, stability }]
      return (names ?? "")
        .split(",")
        .map((one) => one.trim().replace(/^type /, ""))
        .filter((one) => one !== "")
        .map((one) => {
          const [local = one, name = local] = one.split(" as ")
          const at = from === undefined ? importedFrom(text, file, local) : join(dirname(file), from)
          return { name, local, file: at, isNamespace: false, stability }
        })
    },
  )
}

export const entries: ReadonlyArray<Entry> = Object.entries(packageJson.exports).flatMap(([path, target]) => {
  if (typeof target === "string") return []
  const file = target.types.replace(/^\.\/dist\/(.*)\.d\.ts$/, "src/$1.ts")
  if (!existsSync(`${root}${file}`)) throw new Error(`${path} has no source ${file}`)
  return [{ name: `respool${path.slice(1)}`, file, exports: exportsOf(file) }]
})

/** The declaration with the text above it, in what was built; undefined: it is not there. */
export const declarationOf = (exported: Exported): string | undefined => {
  const { file, isNamespace, local } = exported
  const text = readFileSync(`${root}${file.replace(/^src\//, "dist/").replace(/\.ts$/, ".d.ts")}`, "utf8")
  if (isNamespace) return text.replace(/\n\/\/# sourceMappingURL.*\s*$/, "\n")
  const declared = new RegExp(
    `^${doc}(?:export )?(?:declare )?(?:abstract )?(?:const|class|interface|type|function) ${local}\\b(?:(?!^(?:/\\*\\*|export|declare|//#))[^\\n]*\\n?)*`,
    "m",
  )
  const found = declared.exec(text)?.[0].trimEnd()
  if (found !== undefined) return found
  const from = new RegExp(`^(?:import|export) (?:type )?\\{[^}]*\\b${local}\\b[^}]*\\} from "(\\..+?)"`, "m").exec(
    text,
  )?.[1]
  const next = from?.replace(/(\.d)?\.[jt]s$/, ".ts")
  return next === undefined ? undefined : declarationOf({ ...exported, file: join(dirname(file), next) })
}
