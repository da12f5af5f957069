# One of our own commands: api, worker, nats-exporter, loadgen or seatrial. From the repository's folder:
#
#   docker build -f deploy/images/service.Dockerfile --build-arg COMMAND=services/cmd/api -t seatrial/api:dev .
#
# Nothing but the static binary is in the image: no shell, no package, nobody to become.
ARG GO=golang:1.26-bookworm
FROM ${GO} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG COMMAND
ARG VERSION=dev
ENV CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false -trimpath"
RUN test -n "${COMMAND}" || { echo "give --build-arg COMMAND, e.g. services/cmd/api" >&2; exit 1; } \
 && go build -ldflags "-s -w -X main.version=${VERSION} -X seatrial/services/telemetry.Version=${VERSION}" -o /out/command "./${COMMAND}" \
 && mkdir /out/data

FROM scratch
# For whoever talks TLS to the outside.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/command /command
# A folder of its own for what a pod mounts.
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
WORKDIR /data
# No CMD and no shell: settings come from the environment, and Chaos Mesh's stand-in
# (pod-failure) brings an entry point of its own.
ENTRYPOINT ["/command"]
