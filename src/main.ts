#!/usr/bin/env bun
/**
 * Runs the command line.
 */
import { commandLine } from "./cli/Commands.ts"
import { run } from "./cli/Life.ts"

run(commandLine)
