# The service, and MistServer with the handler that asks it.
#
#   docker build --build-arg VERSION=1.2.3 -t authhook .
#   docker build --target mistserver -t authhook-mistserver .
#
# Needs BuildKit: every `docker build` since Docker 23; before that, with DOCKER_BUILDKIT=1.

ARG GO_IMAGE=golang:1.26-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/static-debian12:nonroot
ARG MISTSERVER_IMAGE=ddvtech/mistserver:latest

# ---- both programs, static --------------------------------------------------
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG GOPROXY
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY . .
# What is in the image besides the programs: directories that volumes are mounted on. Docker gives a new volume the owner
# of the directory that it hides.
RUN mkdir -p /out/var/lib/authhook /out/run/authhook
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X main.version=$VERSION" -o /out/bin/ ./cmd/authhook ./cmd/authhook-trigger

# ---- MistServer, which asks over the socket ---------------------------------
# The handler is built with the service, so the two always speak alike; a health check needs no shell in the base image.
# The configuration denies from the first start on, before anybody has set anything up: docker/mistserver.json. It is
# copied into a new volume, and is MistServer's own from then on.
FROM ${MISTSERVER_IMAGE} AS mistserver
COPY --from=build /out/bin/authhook-trigger /out/bin/authhook /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/run/authhook /run/authhook
COPY docker/mistserver.json /config/config.json
VOLUME /config
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["/usr/local/bin/authhook", "health", "--url", "http://127.0.0.1:4242/"]
ENTRYPOINT ["MistController", "-c", "/config/config.json"]
CMD []

# ---- authhook: the last stage is what is built without --target -------------
FROM ${RUNTIME_IMAGE} AS authhook
COPY --from=build /out/bin/ /usr/local/bin/
COPY --from=build --chown=65532:65532 /out/var/lib/authhook /var/lib/authhook
COPY --from=build --chown=65532:65532 /out/run/authhook /run/authhook
# Numbers, so that an orchestrator can see that it is not root.
USER 65532:65532
# Where facts live unless AUTHHOOK_DATABASE_URL says otherwise.
ENV AUTHHOOK_DATABASE_URL=sqlite:/var/lib/authhook/authhook.db
WORKDIR /var/lib/authhook
VOLUME /var/lib/authhook
# It listens on loopback, for a MistServer in the same network namespace. For others: AUTHHOOK_LISTEN=0.0.0.0:4280, which
# demands AUTHHOOK_TRIGGER_KEY.
EXPOSE 4280
# Alive, not ready: a restart does not bring back a database that is away, and would lose the facts in memory.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/authhook", "health"]
ENTRYPOINT ["/usr/local/bin/authhook"]
CMD ["serve"]
ARG VERSION=dev
LABEL org.opencontainers.image.title="authhook" \
      org.opencontainers.image.description="Decides who may watch and who may publish on MistServer" \
      org.opencontainers.image.version="$VERSION"
