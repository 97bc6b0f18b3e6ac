# `make image` builds it, with the version; docs/DOCKER.md says how to run it.

# The compiler runs on the builder's own platform, whatever platform the image is for.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=
ARG DATE=
RUN --mount=type=cache,target=/cache \
    GOMODCACHE=/cache/modules GOCACHE=/cache/build CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath -tags nethttpomithttp2 \
    -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT -X main.date=$DATE" -o /yatagarasu .

# No shell and no library: the program and the authorities that it trusts.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /yatagarasu /usr/bin/yatagarasu
# `make image` writes the texts of all that is linked into the program; without it, ours alone.
COPY LICENSE bi[n]/licences.txt /usr/share/doc/yatagarasu/
# A number, for Kubernetes' runAsNonRoot.
USER 65532:65532
EXPOSE 8080 9090
ENTRYPOINT ["yatagarasu"]
CMD ["-config", "/etc/yatagarasu/config.yaml"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["yatagarasu", "-config", "/etc/yatagarasu/config.yaml", "-probe"]
ARG VERSION=dev
ARG COMMIT=
ARG OWNER=yatagarasu
LABEL org.opencontainers.image.title="yatagarasu" \
      org.opencontainers.image.description="A read-only S3 gateway: JWT rules, an in-memory cache, SigV4" \
      org.opencontainers.image.source="https://github.com/$OWNER/yatagarasu" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT" \
      org.opencontainers.image.licenses="MIT"
