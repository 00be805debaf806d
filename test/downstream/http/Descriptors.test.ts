import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import { limitsWithin, restFor, toShed } from "../../../src/downstream/http/Descriptors.ts"
import type { Client } from "../../../src/downstream/http/SystemCalls.ts"
import { leftOut, saying } from "../../support/ByName.ts"
import { main } from "../../support/Command.ts"
import { eventually } from "../../support/EventLoop.ts"

const path = Bun.env["PATH"] ?? ""

const root = fileURLToPath(new URL("../../../", import.meta.url))

const client = (fd: number, address: string, quiet: number, answered = false): Client => ({
  fd,
  address,
  quiet,
  answered,
  peer: `${fd} ${address}`,
})

const none = () => false
const many = (count: number, address: string, answered = false, from = 0) =>
  Array.from({ length: count }, (_, index) => client(from + index, address, 1000 + index, answered))
const fds = (clients: ReadonlyArray<Client>) => clients.map(({ fd }) => fd).sort((a, b) => a - b)

describe("toShed", () => {
  const limits = { all: 8, perAddress: 8 }

  it("sheds nothing up to the limit, and above it down to three quarters", () => {
    assert.deepStrictEqual(toShed(many(8, "192.0.2.1"), none, limits), [])
    assert.strictEqual(toShed(many(9, "192.0.2.1"), none, limits).length, 3)
    assert.strictEqual(toShed(many(800, "192.0.2.1"), none, limits).length, 794)
  })

  it("spares those that a request is on, however many they are", () => {
    const clients = many(20, "192.0.2.1")
    assert.deepStrictEqual(
      toShed(clients, () => true, limits),
      [],
    )
    assert.deepStrictEqual(fds(toShed(clients, ({ fd }) => fd > 1, limits)), [0, 1])
  })

  it("takes the never answered before the answered, and of each the longest quiet", () => {
    const kept = [client(1, "192.0.2.1", 90_000, true), client(2, "192.0.2.1", 10, true)]
    const strangers = [3, 4, 5, 6, 7, 8, 9].map((fd) => client(fd, "192.0.2.1", fd))
    assert.deepStrictEqual(fds(toShed([...kept, ...strangers], none, limits)), [7, 8, 9])
    const answered = [3, 4, 5, 6, 7, 8, 9].map((fd) => client(fd, "192.0.2.1", fd * 1000, true))
    assert.deepStrictEqual(fds(toShed([...kept, ...answered], none, limits)), [1, 8, 9])
  })

  for (const [what, mine, others] of [
    ["another IPv4 address", "192.0.2.1", "192.0.2.2"],
    ["another IPv6 network", "2001:db8:0:1::1", "2001:db8:0:2::1"],
    ["IPv6 beside IPv4", "192.0.2.1", "::1"],
    ["loopback beside a stranger", "203.0.113.9", "127.0.0.1"],
    ["an address that only begins like it", "192.0.2.1", "192.0.2.10"],
  ] as const) {
    it(`sheds of the address that has more than its share, and of no other: ${what}`, () => {
      const clients = [...many(9, mine), ...many(8, others, false, 100)]
      const shed = toShed(clients, none, { all: 1000, perAddress: 8 })
      assert.strictEqual(shed.length, 3)
      assert.isTrue(shed.every(({ address }) => address === mine))
    })
  }

  it("counts the addresses of one IPv6 network as one", () => {
    const clients = Array.from({ length: 9 }, (_, index) => client(index, `2001:db8::${index + 1}`, index))
    assert.strictEqual(toShed(clients, none, { all: 1000, perAddress: 8 }).length, 3)
  })

  it("sheds from all where all together are too many, less what an address had to give", () => {
    const clients = [...many(9, "192.0.2.1"), ...many(7, "192.0.2.2", false, 100)]
    const shed = toShed(clients, none, { all: 12, perAddress: 8 })
    assert.strictEqual(shed.length, 7)
    assert.strictEqual(new Set(shed).size, 7)
  })
})

describe("limitsWithin", () => {
  for (const [descriptors, all, perAddress] of [
    [undefined, 8192, 4096],
    [20_000, 8192, 4096],
    [10_000, 4984, 4096],
    [1024, 496, 496],
    [256, 112, 112],
    [40, 8, 8],
  ] as const) {
    it(`leaves half of ${descriptors ?? "an unknown number of"} descriptors to others`, () => {
      assert.deepStrictEqual(limitsWithin({ all: 8192, perAddress: 4096 }, descriptors), { all, perAddress })
    })
  }
})

describe("restFor", () => {
  for (const [open, descriptors, millis] of [
    [20, 256, 50],
    [20, 1024, 50],
    [20, 20_000, 199],
    [10_000, 20_000, 100],
    [15_000, 20_000, 50],
    [20_000, 20_000, 50],
    [20, 524_288, 1000],
    [500_000, 524_288, 242],
    [0, undefined, 1000],
  ] as const) {
    it(`lets the process be for ${millis} ms where ${open} of ${descriptors ?? "any number of"} descriptors are open`, () => {
      assert.strictEqual(restFor(open, descriptors), millis)
    })
  }

  it("never sleeps for longer than it takes to open all that are left", () => {
    for (const descriptors of [5_000, 20_000, 65_536, 1_048_576]) {
      for (let open = 0; open < descriptors - 5_000; open += 777) {
        assert.isAtMost(open + restFor(open, descriptors) * 100, descriptors)
      }
    }
  })
})

/** A proxy with few descriptors; gives its port, and what it has logged. */
const proxied = (descriptors: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const child = Bun.spawn(["sh", "-c", `ulimit -n ${descriptors}; exec ${process.execPath} ${main} serve`], {
        cwd: root,
        env: { PATH: path, RESPOOL_PORT: "0", RESPOOL_UPSTREAM_URL: "http://127.0.0.1:9/v1" },
        stdout: "pipe",
        stderr: "pipe",
      })
      const texts = { out: "" }
      const read = async (stream: ReadableStream<Uint8Array>, begun: (text: string) => void) => {
        const decoder = new TextDecoder()
        for await (const part of stream) {
          texts.out += decoder.decode(part)
          begun(texts.out)
        }
      }
      const port = await new Promise<number>((resolve, reject) => {
        const begun = (text: string) => {
          const found = /OPENAI_BASE_URL=http:\/\/127\.0\.0\.1:(\d+)/.exec(text)
          if (found?.[1] !== undefined) resolve(Number(found[1]))
        }
        void read(child.stdout, begun)
        void read(child.stderr, begun)
        void child.exited.then(() => reject(new Error(`it did not start: ${texts.out}`)))
      })
      return { child, port, logged: () => texts.out }
    }),
    ({ child }) =>
      Effect.promise(() => {
        child.kill("SIGKILL")
        return child.exited
      }),
  )

const idle = (port: number, count: number, first: string) =>
  Effect.acquireRelease(
    Effect.promise(() =>
      Promise.all(
        Array.from(
          { length: count },
          () =>
            new Promise<ReturnType<typeof connect>>((resolve) => {
              const socket = connect({ host: "127.0.0.1", port })
              socket.on("error", () => {})
              socket.once("close", () => resolve(socket))
              socket.once("connect", () => {
                if (first !== "") socket.write(first)
                resolve(socket)
              })
            }),
        ),
      ),
    ),
    (sockets) => Effect.sync(() => sockets.forEach((socket) => socket.destroy())),
  )

const status = (port: number, path: string) =>
  Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization: "Bearer test-key-a" } })
    await answer.text()
    return answer.status
  })

const why =
  process.platform === "linux"
    ? leftOut(import.meta.url, "it starts proxies for a storm of sockets")
    : "for only Linux says whose descriptors they are"

describe.skipIf(why !== undefined)(`Idle sockets of a stranger, more than there are descriptors${saying(why)}`, () => {
  for (const [what, first] of [
    ["that send nothing", ""],
    ["that send a byte", "G"],
    ["that send half of a head", "GET /healthz HTTP/1.1\r\nhost: x\r\n"],
    ["that ask once and stay", "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"],
    ["that ask for nothing that is there", "GET /x HTTP/1.1\r\nhost: x\r\n\r\n"],
    ["that send a head without its end", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: b\r\n"],
  ] as const) {
    it.live(`leave the process alive, and clients and requests upstream their turn: ${what}`, () =>
      Effect.gen(function* () {
        const { child, logged, port } = yield* proxied(256)
        for (let round = 0; round < 2; round++) {
          yield* idle(port, 300, first)
          assert.strictEqual(yield* status(port, "/healthz"), 200)
          // A request upstream takes descriptors too; there nobody listens.
          assert.strictEqual(yield* status(port, "/v1/models"), 502)
        }
        assert.isNull(child.exitCode)
        const said = () => logged().split("too many connections of clients").length - 1
        yield* eventually(() => said() > 0, logged)
        assert.strictEqual(said(), 1, logged())
      }).pipe(Effect.scoped),
    )
  }
})
