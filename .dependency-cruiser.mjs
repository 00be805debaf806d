/**
 * The rooms of `src` and the arrows between them (CONTRIBUTING.md, Boundaries). What is not listed is refused, and so is
 * every circle: of files, and of folders.
 */

/** Each room, and the rooms that it may import besides itself. `top` stands for the files of `src` itself. */
const arrows = {
  // What runs in a browser: it is bundled, and nobody imports it.
  page: ["observe"],
  cluster: ["config", "turn", "wire"],
  cli: ["top", "cluster", "observe", "config", "downstream", "turn", "upstream", "wire", "simulator"],
  top: ["cluster", "config", "observe", "downstream", "turn", "upstream", "wire", "simulator", "testing"],
  downstream: ["config", "observe", "turn", "wire"],
  upstream: ["config", "turn", "wire"],
  turn: ["wire"],
  observe: ["turn", "config", "wire"],
  config: ["wire"],
  wire: [],
  simulator: [],
  testing: ["config", "turn", "upstream"],
}

/** Inside `upstream`; its own files, the executor with the fallback among them, may import all of these. */
const upstreamArrows = {
  socket: ["pool", "route"],
  http: ["route", "dialer"],
  pool: ["route", "dialer"],
  route: ["credential"],
  credential: [],
  dialer: [],
}

const inside = (room) => (room === "top" ? "^src/[^/]+$" : `^src/${room}/`)

const refused = (name, from, to, comment) => ({ name, severity: "error", comment, from, to })

/** @type {import("dependency-cruiser").IConfiguration} */
export default {
  forbidden: [
    ...Object.entries(arrows).map(([room, others]) =>
      refused(
        `${room}-imports`,
        { path: inside(room), ...(room === "top" ? { pathNot: "^src/main\\.ts$" } : {}) },
        { path: "^src/", pathNot: [room, ...others].map(inside) },
        `${room} imports ${others.length === 0 ? "no other room" : `only ${others.join(", ")}`}.`,
      ),
    ),
    refused(
      "main-imports",
      { path: "^src/main\\.ts$" },
      { path: "^src/", pathNot: "^src/cli/" },
      "main only launches the command line.",
    ),
    ...Object.entries(upstreamArrows).map(([room, others]) =>
      refused(
        `upstream-${room}-imports`,
        { path: `^src/upstream/${room}/` },
        { path: "^src/upstream/", pathNot: [room, ...others].map((other) => `^src/upstream/${other}/`) },
        `upstream/${room} imports of upstream ${others.length === 0 ? "nothing" : `only ${others.join(", ")}`}.`,
      ),
    ),
    refused(
      "downstream-observes",
      { path: "^src/downstream/", pathNot: "^src/downstream/operator/" },
      { path: "^src/observe/" },
      "Of downstream only operator imports observe: nothing of a turn's path knows it.",
    ),
    refused("no-circle-of-files", {}, { circular: true }, "Files import each other in a circle."),
    {
      name: "no-circle-of-folders",
      severity: "error",
      comment: "Folders import each other in a circle.",
      scope: "folder",
      from: {},
      to: { circular: true },
    },
    refused(
      "known-room",
      { path: "^src/", pathNot: Object.keys(arrows).map(inside) },
      {},
      "A new room needs its arrows here and in CONTRIBUTING.md.",
    ),
    refused("no-tests", { path: "^src/" }, { path: "^test/" }, "The sources import no tests."),
    refused("resolvable", { path: "^src/" }, { couldNotResolve: true }, "The import leads nowhere."),
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    parser: "swc",
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "types", "default"] },
  },
}
