import { defineConfig } from "vitest/config"

/** Files that replace modules for themselves, or count what the whole process has: each in a worker of its own. */
const alone = ["test/downstream/auth/Keys.test.ts", "test/lifecycle/**/*.test.ts"]

export default defineConfig({
  // Examples import respool as an app does; here it is the sources, and not what was built of them at some time.
  resolve: { tsconfigPaths: true },
  test: {
    // Bun runs vitest's workers as threads only: the default pool of forked processes fails under it.
    pool: "threads",
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 60_000,
    globalSetup: ["test/support/Bundle.ts", "test/support/ByName.ts"],
    projects: [
      // All others share their workers and the modules in them, whose loading takes longer than most of these files.
      { extends: true, test: { name: "shared", include: ["test/**/*.test.ts"], exclude: alone, isolate: false } },
      { extends: true, test: { name: "alone", include: alone } },
    ],
  },
})
