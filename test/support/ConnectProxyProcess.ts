/**
 * An HTTP proxy as a process of its own: prints its port, tunnels and forwards, and ends with its standard input.
 *
 * The one argument is JSON: `user` (`name:password` that it demands), `refuse` (the status of every answer) and `tls`
 * (to be spoken to over TLS). `GET /seen` tells what it was asked: `CONNECT host:port` and the like.
 */
import * as Net from "node:net"
import * as Tls from "node:tls"

interface Options {
  readonly user?: string
  readonly refuse?: number
  readonly tls?: { readonly cert: string; readonly key: string }
}

const options: Options = JSON.parse(process.argv[2] ?? "{}")
const seen: Array<string> = []

const answer = (status: number, body = "") =>
  `HTTP/1.1 ${status} Said\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`

const join = (client: Net.Socket, host: string, port: number, begin: (peer: Net.Socket) => void) => {
  const peer = Net.connect({ host: host === "localhost" ? "127.0.0.1" : host, port }, () => {
    begin(peer)
    client.pipe(peer)
    peer.pipe(client)
  })
  peer.on("error", () => client.destroy())
  peer.on("close", () => client.destroy())
  client.on("close", () => peer.destroy())
}

const serve = (client: Net.Socket, head: string, rest: Buffer) => {
  const [first = "", ...lines] = head.split("\r\n")
  const [method = "", target = ""] = first.split(" ")
  if (target === "/seen") return client.end(answer(200, JSON.stringify(seen)))
  seen.push(`${method} ${target}`)
  if (options.refuse !== undefined) return client.end(answer(options.refuse))
  const credential = lines.find((line) => /^proxy-authorization:/i.test(line))?.replace(/^[^:]+:\s*/, "")
  if (options.user !== undefined && credential !== `Basic ${Buffer.from(options.user).toString("base64")}`) {
    return client.end(answer(407))
  }
  if (method === "CONNECT") {
    const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(target) ?? []
    return join(client, host, Number(port), () => client.write("HTTP/1.1 200 Connection established\r\n\r\n"))
  }
  const url = new URL(target)
  const kept = lines.filter((line) => !/^proxy-/i.test(line))
  const request = [`${method} ${url.pathname}${url.search} HTTP/1.1`, ...kept, "", ""].join("\r\n")
  join(client, url.hostname, Number(url.port), (peer) => peer.write(Buffer.concat([Buffer.from(request), rest])))
}

const accept = (client: Net.Socket) => {
  let bytes = Buffer.alloc(0)
  client.on("error", () => {})
  client.on("data", function read(chunk: Buffer) {
    bytes = Buffer.concat([bytes, chunk])
    const end = bytes.indexOf("\r\n\r\n")
    if (end < 0) return
    client.off("data", read)
    serve(client, bytes.subarray(0, end).toString("latin1"), bytes.subarray(end + 4))
  })
}

const server = options.tls === undefined ? Net.createServer(accept) : Tls.createServer(options.tls, accept)
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(address !== null && typeof address === "object" ? address.port : 0)
})
process.stdin.on("end", () => process.exit(0))
process.stdin.resume()
