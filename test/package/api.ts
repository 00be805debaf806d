/**
 * `bun run api`: writes a page for each entry point into `dist/api`, of the declarations and what is said of them there.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { declarationOf, entries } from "./Exports.ts"

const folder = fileURLToPath(new URL("../../dist/api/", import.meta.url))

mkdirSync(folder, { recursive: true })
for (const { exports, name } of entries) {
  const parts = exports.map((one) => {
    const declaration = declarationOf(one)
    if (declaration === undefined) throw new Error(`${name} has no declaration of ${one.name}`)
    return `## ${one.name}\n\n*${one.stability}*, \`${one.file}\`\n\n\`\`\`ts\n${declaration}\n\`\`\`\n`
  })
  const path = `${folder}${name.replace("/", "-")}.md`
  writeFileSync(path, `# ${name}\n\n${parts.join("\n")}`)
  console.log(`${path}: ${exports.length} exports`)
}
