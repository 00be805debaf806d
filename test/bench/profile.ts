/**
 * Says where the time went in CPU profiles of respool: each function's own share, and what was inside of it.
 *
 * A sample counts as one interval: what lies between two samples further apart was spent waiting.
 *
 *     bun test/bench/profile.ts FOLDER [ROWS]
 */
import { Glob } from "bun"

interface Node {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: ReadonlyArray<number>
}

interface Profile {
  readonly nodes: ReadonlyArray<Node>
  readonly samples: ReadonlyArray<number>
}

const [folder = ".", rows = "40"] = process.argv.slice(2)

const nameOf = ({ callFrame: { functionName, lineNumber, url } }: Node) => {
  const file = url.replace(/^.*\/node_modules\//, "").replace(/^.*\/src\//, "src/")
  return `${functionName === "" ? "(anonymous)" : functionName}  ${file === "" ? "native" : `${file}:${lineNumber + 1}`}`
}

const report = ({ nodes, samples }: Profile) => {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(nodes.flatMap(({ children = [], id }) => children.map((child) => [child, id] as const)))
  const own = new Map<string, number>()
  const total = new Map<string, number>()
  const add = (to: Map<string, number>, name: string) => to.set(name, (to.get(name) ?? 0) + 1)
  for (const sample of samples) {
    const seen = new Set<string>()
    for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) {
      const node = byId.get(id)
      if (node !== undefined) seen.add(nameOf(node))
    }
    const leaf = byId.get(sample)
    if (leaf !== undefined) add(own, nameOf(leaf))
    for (const name of seen) add(total, name)
  }
  const share = (count: number) => `${((count / samples.length) * 100).toFixed(1)} %`.padStart(8)
  const top = (counts: Map<string, number>) =>
    [...counts]
      .sort(([, a], [, b]) => b - a)
      .slice(0, Number(rows))
      .map(([name, count]) => `${share(count)}  ${name}`)
  return [`${samples.length} samples, own share`, ...top(own), "", "with all that was called", ...top(total), ""]
}

for await (const path of new Glob("*.cpuprofile").scan({ cwd: folder, absolute: true })) {
  console.log([path, ...report((await Bun.file(path).json()) as Profile)].join("\n"))
}
