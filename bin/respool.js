#!/usr/bin/env sh
":" //; command -v bun >/dev/null || { echo "respool: the command line runs on Bun, which is not here: https://bun.sh, or npx --yes --package=bun --package=respool respool" >&2; exit 1; }; exec bun "$0" "$@"
// The lines above are for the shell that starts this file, since without Bun nobody else could say what is missing.
await import("../src/main.ts")
