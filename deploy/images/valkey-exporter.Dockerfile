# The exporter of Valkey's metrics, from the module that the local testbed builds it from.
#
#   docker build -f deploy/images/valkey-exporter.Dockerfile -t seatrial/valkey-exporter:dev .
ARG GO=golang:1.26-bookworm
FROM ${GO} AS build
WORKDIR /src
COPY deploy/servers/valkey-exporter/go.mod deploy/servers/valkey-exporter/go.sum ./
ENV CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath"
RUN go mod download && go build -ldflags "-s -w" -o /out/valkey-exporter github.com/oliver006/redis_exporter

FROM scratch
COPY --from=build /out/valkey-exporter /valkey-exporter
USER 65532:65532
ENTRYPOINT ["/valkey-exporter"]
