/**
 * Says where the time went in CPU profiles of respool: by stage of the turn, each function's own share, and what was inside
 * of it.
 *
 * A sample counts as one interval: what lies between two samples further apart was spent waiting. The first third of the
 * samples is left out, in which the engine still compiles. A stage has what its own files ran, and what of the platform they
 * called; Effect's own code is a stage for itself, since its run loop calls all others. Of a system call a sample says how
 * long it took, the time in which other processes ran instead among it: on a busy machine `write` and `end` are too large.
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

/** Files below `src/`, by what their paths begin with: the first that fits counts. */
const stages: ReadonlyArray<readonly [stage: string, paths: RegExp]> = [
  ["listener and router", /^(downstream\/http|Server)/],
  ["caller", /^downstream\/(auth|tenants)/],
  ["answer", /^downstream\/(answer|socket)/],
  ["body and intake", /^(downstream|wire\/(RequestBody|Json|scan|Steps))/],
  ["digests and memory", /^(turn\/memory|wire\/(Digest|Item|Canonical|Condensed))/],
  ["log line and record", /^(turn\/record|turn\/TurnReport|cli)/],
  ["events and end", /^(turn\/attempt|wire\/(Event|ResponseEvent|UpstreamError))/],
  ["lease", /^upstream\/(pool|route|credential)/],
  ["socket", /^upstream\/dialer/],
  ["turn, plan and frame", /^/],
]

const stageOf = (byId: ReadonlyMap<number, Node>, parents: ReadonlyMap<number, number>, sample: number): string => {
  const leaf = byId.get(sample)
  if (leaf?.callFrame.url.includes("/node_modules/effect/") === true) return "Effect"
  for (let id: number | undefined = sample; id !== undefined; id = parents.get(id)) {
    const file = /\/src\/(.*)$/.exec(byId.get(id)?.callFrame.url ?? "")?.[1]
    if (file !== undefined) return stages.find(([, paths]) => paths.test(file))?.[0] ?? ""
  }
  return `platform${leaf === undefined ? "" : `: ${leaf.callFrame.functionName}`}`
}

const report = ({ nodes, samples: all }: Profile) => {
  const samples = all.slice(Math.floor(all.length / 3))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(nodes.flatMap(({ children = [], id }) => children.map((child) => [child, id] as const)))
  const own = new Map<string, number>()
  const total = new Map<string, number>()
  const byStage = new Map<string, number>()
  const add = (to: Map<string, number>, name: string) => to.set(name, (to.get(name) ?? 0) + 1)
  for (const sample of samples) {
    add(byStage, stageOf(byId, parents, sample))
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
  const top = (counts: Map<string, number>, most = Number(rows)) =>
    [...counts]
      .sort(([, a], [, b]) => b - a)
      .slice(0, most)
      .map(([name, count]) => `${share(count)}  ${name}`)
  return [
    `${samples.length} samples, by stage`,
    ...top(byStage, stages.length + 4),
    "",
    "own share",
    ...top(own),
    "",
    "with all that was called",
    ...top(total),
    "",
  ]
}

for await (const path of new Glob("*.cpuprofile").scan({ cwd: folder, absolute: true })) {
  console.log([path, ...report((await Bun.file(path).json()) as Profile)].join("\n"))
}
