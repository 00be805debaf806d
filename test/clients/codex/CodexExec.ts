/**
 * Runs `codex exec` against one upstream, in directories of its own that are removed afterwards.
 *
 * Each process ends by itself or is killed after half a minute. The environment is not inherited, and every proxy variable
 * names a listener on loopback that refuses, so a request for another host goes no further than to `strayed`.
 */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const { arch, platform } = process

/** The program of the package that is installed here for this platform; undefined where it is not. */
export const codexBinary = async (): Promise<string | undefined> => {
  const program = platform === "win32" ? "codex.exe" : "codex"
  const glob = new Bun.Glob(`node_modules/@openai/codex-${platform}-${arch}/vendor/*/bin/${program}`)
  try {
    for await (const path of glob.scan({ cwd: fileURLToPath(new URL(".", import.meta.url)), absolute: true }))
      return path
  } catch {
    return undefined
  }
  return undefined
}

const config = (baseURL: string, websockets: boolean) => `
model = "gpt-5.5"
model_provider = "relay"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
web_search = "disabled"

[analytics]
enabled = false

[features]
apps = false
plugins = false

[model_providers.relay]
name = "relay"
base_url = "${baseURL}"
wire_api = "responses"
env_key = "RELAY_KEY"
supports_websockets = ${websockets}
request_max_retries = 0
stream_max_retries = 0
`

export interface CodexSession {
  /** Where the agent's commands run. */
  readonly directory: string
  /** Asks in the session that the first question starts; gives the lines of `--json`. */
  readonly ask: (question: string) => Promise<ReadonlyArray<unknown>>
  /** First lines of the requests that were meant for another host. */
  readonly strayed: ReadonlyArray<string>
}

/** Runs `use` with a session of its own against `baseURL`, over HTTP or on WebSockets that the client opens. */
export const withCodex = async <A>(
  binary: string,
  baseURL: string,
  use: (session: CodexSession) => Promise<A>,
  websockets = false,
): Promise<A> => {
  const home = await mkdtemp(join(tmpdir(), "codex-home-"))
  const directory = await mkdtemp(join(tmpdir(), "codex-work-"))
  const strayed: Array<string> = []
  const refusing = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data: (socket, bytes) => {
        strayed.push(bytes.toString().split("\r\n")[0] ?? "")
        socket.end("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
      },
    },
  })
  const nowhere = `http://127.0.0.1:${refusing.port}`
  let asked = 0
  const ask = async (question: string) => {
    const resume = asked++ === 0 ? [] : ["resume", "--last"]
    const codex = Bun.spawn([binary, "exec", ...resume, "--skip-git-repo-check", "--json", question], {
      cwd: directory,
      env: {
        PATH: "/usr/local/bin:/usr/bin:/bin",
        HOME: home,
        CODEX_HOME: home,
        RELAY_KEY: "test-key-a",
        ALL_PROXY: nowhere,
        HTTP_PROXY: nowhere,
        http_proxy: nowhere,
        HTTPS_PROXY: nowhere,
        NO_PROXY: "127.0.0.1",
      },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      timeout: 30_000,
      killSignal: "SIGKILL",
    })
    const [out, error, code] = await Promise.all([
      new Response(codex.stdout).text(),
      new Response(codex.stderr).text(),
      codex.exited,
    ])
    if (code !== 0) throw new Error(`codex ended with ${code}: ${error}\n${out}`)
    return out
      .trim()
      .split("\n")
      .map((line): unknown => JSON.parse(line))
  }
  try {
    await Bun.write(join(home, "config.toml"), config(baseURL, websockets))
    return await use({ ask, directory, strayed })
  } finally {
    refusing.stop(true)
    await rm(home, { recursive: true, force: true })
    await rm(directory, { recursive: true, force: true })
  }
}
