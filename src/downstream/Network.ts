/**
 * Says which network a client's address stands for, where clients are counted by their address.
 *
 * Whoever has one IPv6 address has 2^64 of them, so those count by their first 64 bits. An IPv4 address counts as it is,
 * also where a socket for both kinds writes it as `::ffff:192.0.2.1`.
 */
export const network = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!address.includes(":")) return address
  const [head = "", tail] = (address.split("%")[0] ?? "").split("::")
  const groups = (part: string | undefined) => (part === undefined || part === "" ? [] : part.split(":"))
  const [first, last] = [groups(head), groups(tail)]
  const zeros = tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => "0")
  return `${[...first, ...zeros, ...last]
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, "").toLowerCase())
    .join(":")}::`
}
