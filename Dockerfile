# The image of a release: its static binary, and nothing else that could run but the health check.
# `make snapshot` makes what it copies; examples/grafana/Dockerfile compiles instead.
FROM scratch
ARG TARGETARCH
ARG VERSION
LABEL org.opencontainers.image.title="otelcol-smtpfailure" \
      org.opencontainers.image.description="OpenTelemetry Collector that receives Copernica and SMTPeter failure webhooks" \
      org.opencontainers.image.source="https://github.com/smtpfailure/opentelemetry-collector-smtpfailure" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY dist/ca-certificates.crt /etc/ssl/certs/
COPY dist/linux-${TARGETARCH}_linux_${TARGETARCH}_*/otelcol-smtpfailure /
COPY dist/healthcheck-${TARGETARCH}_linux_${TARGETARCH}_*/healthcheck /
COPY LICENSE /
COPY build/licenses/linux /THIRD_PARTY_LICENSES
COPY examples/container/config.yaml /etc/otelcol-smtpfailure/
# A volume that is mounted here gets its owner from this directory.
COPY --chown=65532:65532 packaging/state /var/lib/otelcol-smtpfailure
ENV STORAGE_DIRECTORY=/var/lib/otelcol-smtpfailure
USER 65532:65532
# Reports, counters, the collector's own metrics, health.
EXPOSE 8550 9464 8888 13133
# There is no shell in here. It asks the health_check extension, which every configuration needs to
# have for it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=15s --retries=3 CMD ["/healthcheck"]
ENTRYPOINT ["/otelcol-smtpfailure"]
CMD ["--config", "/etc/otelcol-smtpfailure/config.yaml"]
