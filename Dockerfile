# syntax=docker/dockerfile:1

# The collector distribution as an image of one static binary, and the example sender as another:
#
#   docker build --target collector -t otelcol-smtpfailure --build-arg VERSION=$(scripts/version.sh) .
#   docker run --rm -p 127.0.0.1:8550:8550 otelcol-smtpfailure

# Compiles on the machine's own platform for the one that is asked for.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY . .
# The build tool runs here, so it's made before GOOS and GOARCH say otherwise.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make .tools/builder
ARG TARGETOS TARGETARCH
# Which release this is, from scripts/version.sh. Without it, it says -dev, since there is no git history in here.
ARG VERSION
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    export CGO_ENABLED=0 GOOS="$TARGETOS" GOARCH="$TARGETARCH" && \
    make build ${VERSION:+VERSION="$VERSION"} && \
    go build -trimpath -ldflags '-s -w' -o bin/healthcheck ./examples/healthcheck && \
    go build -trimpath -ldflags '-s -w' -o bin/sender ./examples/sender && \
    mkdir -p /state

FROM scratch AS sender
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/sender /sender
USER 65532:65532
ENTRYPOINT ["/sender"]

# The last stage is what is built when no target is named. Time zones are in the binary.
FROM scratch AS collector
ARG VERSION
LABEL org.opencontainers.image.title="otelcol-smtpfailure" \
      org.opencontainers.image.description="OpenTelemetry Collector that receives Copernica and SMTPeter failure webhooks" \
      org.opencontainers.image.source="https://github.com/smtpfailure/opentelemetry-collector-smtpfailure" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /src/bin/otelcol-smtpfailure /otelcol-smtpfailure
COPY --from=build /src/bin/healthcheck /healthcheck
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /src/examples/container/config.yaml /etc/otelcol-smtpfailure/config.yaml
# A volume that is mounted here gets its owner from this directory.
COPY --from=build --chown=65532:65532 /state /var/lib/otelcol-smtpfailure
ENV STORAGE_DIRECTORY=/var/lib/otelcol-smtpfailure
USER 65532:65532
# Reports, counters, the collector's own metrics, health.
EXPOSE 8550 9464 8888 13133
# There is no shell in here. It asks the health_check extension, which every configuration needs to have for it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s --retries=3 CMD ["/healthcheck"]
ENTRYPOINT ["/otelcol-smtpfailure"]
CMD ["--config", "/etc/otelcol-smtpfailure/config.yaml"]
