/**
 * The settings: one table with name, default, what is allowed and what it is for.
 */
import { Config, Schema } from "effect"
import {
  apiKey,
  count,
  databaseAddress,
  duration,
  headerName,
  headerNames,
  hosts,
  ids,
  modelNames,
  nodeAddress,
  nodeAddresses,
  oneOf,
  optional,
  origins,
  path,
  proxyAddress,
  row,
  sharedSecret,
  size,
  upstreamAddress,
  whole,
} from "./SettingKinds.ts"
import type { ProfileName } from "./Profile.ts"
import { profileNames } from "./Profile.ts"

/** Every setting, in the order of `respool serve --help`. */
export const rows = {
  host: row(Config.NonEmptyString, "127.0.0.1", "127.0.0.1", "a host name or address", "where the proxy listens"),
  port: row(
    (name) => Config.schema(whole(0, 65535), name),
    8080,
    "8080",
    "a whole number from 0 to 65535",
    "0 takes any free port, which the banner shows",
  ),
  listenTlsCert: path("file of the certificate (PEM) to listen with, over TLS"),
  listenTlsKey: path("file of that certificate's key (PEM)"),
  allowedOrigins: origins(
    "of other web pages that may use the proxy, its credentials too; `Origin` says which one asks",
  ),
  allowedHosts: hosts(
    "further names of the proxy in `Host`, where it adds a credential of its own; with any port, or the one named",
  ),
  downstreamWebsocket: oneOf(["on", "off"], "on", "whether clients may open a WebSocket themselves; `off` answers 426"),
  downstreamAnchors: oneOf(
    ["socket", "scope"],
    "socket",
    "who may continue a response that is not stored by its id: the client's socket that got it, or any of its caller's",
  ),
  downstreamDeflate: oneOf(["off", "on"], "off", "whether clients' sockets may compress their messages"),
  downstreamIdle: duration("60 minutes", "a client's socket without a turn is closed after this"),
  maxClientSockets: count(8192, "sockets of clients in all; further ones are answered 503"),
  maxClientSocketsPerScope: count(8192, "sockets of clients with one credential or key; further ones are answered 503"),
  maxClientMessage: size(
    "4 MiB",
    "message on a client's socket; a larger one closes it with 1009, and belongs over HTTP",
  ),
  upstreamUrl: upstreamAddress("https://api.openai.com/v1", "base URL of the Responses API; else the profile's"),
  profile: row(
    (name) => Config.map(Config.schema(Schema.Literals(profileNames), name), (value): ProfileName | undefined => value),
    undefined,
    "",
    profileNames.join(" | "),
    "what is known of the upstream; else its host tells",
  ),
  transport: oneOf(["auto", "websocket", "http"], "auto", "auto falls back to HTTP when no socket can be had"),
  auth: oneOf(["passthrough", "keys"], "passthrough", "whose credential goes upstream: the caller's, or the proxy's"),
  keysFile: row(Config.NonEmptyString, "respool.keys.json", "respool.keys.json", "a path", "the keys of `auth: keys`"),
  upstreamApiKey: apiKey("the upstream's key, for `auth: keys`"),
  namespaceTenants: oneOf(
    ["on", "off"],
    "on",
    "with `auth: keys`, whether `prompt_cache_key`, `user` and `safety_identifier` of two tenants are never the same upstream",
  ),
  sharedIds: ids(
    "with `auth: keys`, ids that every tenant may use: files, vector stores, prompts made outside of respool",
  ),
  sessionHeader: optional(
    Schema.String.check(Schema.isPattern(headerName)),
    "a header name",
    "one more header that names a session",
  ),
  forwardHeaders: headerNames("client headers to send on the upgrade as well; they split the pool"),
  tlsCa: path("file of CA certificates (PEM) to trust for the upstream"),
  tlsCert: path("file of the client certificate (PEM) for the upstream"),
  tlsKey: path("file of the client certificate's key (PEM)"),
  tlsVerify: oneOf(
    ["on", "off"],
    "on",
    "`off` believes any upstream, whatever its certificate: for trying things out only",
  ),
  proxy: proxyAddress(
    "on the way to the upstream; else `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` says which, and `NO_PROXY` what is reached directly all the same",
  ),
  idleTtl: duration("50 minutes", "an unused connection is closed after this"),
  maxAge: duration("50 minutes", "no turn starts on a connection older than this; the API caps at 60 minutes"),
  pingInterval: duration("25 seconds", "two and a half of these without a sign of life end a connection"),
  handshakeTimeout: duration("15 seconds", "for the upgrade to be answered"),
  firstEventTimeout: duration(
    "300 seconds",
    "for the first event of a turn; not where JSON comes over HTTP, which has the whole turn's time",
  ),
  eventTimeout: duration(
    "1800 seconds",
    "for silence between events, or parts of any other answer; deep reasoning is silent; not where JSON comes over HTTP",
  ),
  turnTimeout: duration("60 minutes", "for a whole turn, and for any other request to be answered"),
  drainTimeout: duration("30 seconds", "for turns in flight when the proxy stops"),
  maxConnections: count(1024, "upstream connections in all"),
  maxConnectionsPerScope: count(1024, "upstream connections of one credential or key"),
  maxConnectionsPerSession: count(64, "upstream connections of one session"),
  maxBody: size("64 MiB", "request body, after decoding"),
  maxMessage: size("15 MiB", "message on the socket; a larger one goes over HTTP"),
  maxClients: count(
    8192,
    "connections of clients, or half of the system's limit on open files if that is less; idle ones above it are closed",
  ),
  maxClientsPerAddress: count(4096, "of those, of one address"),
  maxTurns: count(4096, "turns and other requests with a body at a time; further ones are answered 503"),
  maxBodies: size("1 GiB", "request bodies in memory at a time; further ones are answered 503"),
  maxTurnsPerCaller: count(2048, "of those, of one credential or key, and of one address"),
  maxBodiesPerCaller: size("512 MiB", "of those bytes, of one credential or key, and of one address"),
  maxWaiting: count(1024, "turns that wait for a connection at a time"),
  maxBuffered: size("8 MiB", "of one answer, what may wait for a slow client; then the upstream is made to wait"),
  clientTimeout: duration("60 seconds", "for a slow client to take some of what waits; then its turn is cancelled"),
  retry: oneOf(
    ["standard", "strict"],
    "standard",
    "`standard` sends a turn again when the upstream hung up before its answer began; `strict` never risks a second run",
  ),
  reasoning: oneOf(["lenient", "strict"], "lenient", "whether a client that leaves reasoning out is continued"),
  busy: oneOf(
    ["dial", "wait", "http", "lane"],
    "dial",
    "`dial` opens connections and goes over HTTP at a cap, `wait` waits 5 seconds first, `http` keeps one a session, `lane` lets turns of a session share one at OpenAI",
  ),
  streamError: oneOf(
    ["error", "failed"],
    "error",
    "how a stream tells of an error: by an `error` event, or by a `response.failed` for clients that know only that",
  ),
  decisionHeaders: oneOf(["on", "off"], "on", "the `x-respool-*` and `server-timing` response headers"),
  metrics: oneOf(["on", "off"], "on", "whether turns and connections are counted, and what was counted shown"),
  operatorToken: apiKey(
    "asked of whoever wants to look into the proxy (`/metrics`, the page at `/_respool/`), and then enough from anywhere; without it only this machine may",
  ),
  operatorTokenFile: path("file of that token, for where a secret must not stand in the environment"),
  clusterAddress: nodeAddress(
    "makes this a node of a cluster: the URL at which the other nodes reach it, whose port is a listener of its own",
  ),
  clusterSecret: sharedSecret("of all nodes of the cluster alike: whoever has it is one of them"),
  clusterSecretFile: path("file of that secret, for where it must not stand in the environment"),
  clusterNodes: nodeAddresses("who is in the cluster: the addresses of its nodes, with this one's or without"),
  clusterDns: optional(
    Schema.String.check(Schema.isPattern(/^[\w-]+(\.[\w-]+)*\.?$/)),
    "a name",
    "who is in the cluster: a name that has the addresses of all its nodes, which listen at one port",
  ),
  clusterDatabase: databaseAddress(
    "who is in the cluster: the Postgres database in which its nodes say that they are there",
  ),
  logLevel: oneOf(["info", "debug", "warn", "error", "none"], "info", "the least level that is logged"),
  logFormat: oneOf(["text", "json"], "text", "how a log line is written"),
} as const

/**
 * What an upstream says of itself in `respool.json`, beside its credential and certificates. A row of both tables holds
 * for all upstreams, or for the one that says it.
 */
export const upstreamRows = {
  profile: rows.profile,
  url: upstreamAddress("", "base URL of its Responses API; else the profile's"),
  transport: rows.transport,
  models: modelNames("models that it serves"),
  maxAge: rows.maxAge,
  idleTtl: rows.idleTtl,
  maxMessage: rows.maxMessage,
  forwardHeaders: rows.forwardHeaders,
  tlsVerify: rows.tlsVerify,
  proxy: rows.proxy,
} as const

/** Files with an upstream's certificates, named for all upstreams or for one. */
export const tlsFiles = ["tlsCa", "tlsCert", "tlsKey"] as const

/** Settings that upstreams are made of, and nothing else. */
export const areOfUpstreams: ReadonlySet<string> = new Set(["upstreamUrl", ...Object.keys(upstreamRows), ...tlsFiles])
