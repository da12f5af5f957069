# nats-server from the module that the local testbed builds it from, beside a shell for deploy/nats/start-nats.sh.
#
#   docker build -f deploy/images/nats.Dockerfile -t seatrial/nats:dev .
ARG GO=golang:1.26-bookworm
ARG BASE=busybox:1.37-musl
FROM ${GO} AS build
WORKDIR /src
COPY deploy/servers/nats/go.mod deploy/servers/nats/go.sum ./
ENV CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath"
RUN go mod download && go build -ldflags "-s -w" -o /out/nats-server github.com/nats-io/nats-server/v2

# sh, awk, sed, tr for the start script, and wget for `helm test`.
FROM ${BASE}
COPY --from=build /out/nats-server /usr/local/bin/nats-server
USER 65532:65532
# The chart's args name the script. Not its command: see the chart.
ENTRYPOINT ["/bin/sh"]
