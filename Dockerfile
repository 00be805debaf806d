# The version is package.json's own pin of bun.
FROM oven/bun:1.4.5-slim AS dependencies
WORKDIR /app
COPY package.json bun.lock bunfig.toml ./
RUN bun install --frozen-lockfile --production

FROM oven/bun:1.4.5-slim
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY src ./src
# Settings come from the environment, or from /config/respool.json; the keys and the record of ids lie beside it.
RUN mkdir /config && chown bun:bun /config
ENV NODE_ENV=production RESPOOL_HOST=0.0.0.0 RESPOOL_PORT=8080
USER bun
WORKDIR /config
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["bun", "/app/src/main.ts", "health"]
# The process itself gets SIGTERM, and drains. Give it longer than RESPOOL_DRAIN_TIMEOUT (docker stop --time 40).
STOPSIGNAL SIGTERM
ENTRYPOINT ["bun", "/app/src/main.ts"]
CMD ["serve"]
