#!/bin/sh
# Builds every image that the charts name, with Docker or another engine that takes its words:
#
#   deploy/images/build.sh [TAG] [PREFIX]      e.g. build.sh v0.1.0 registry.example.com/team/
#
# ENGINE (docker)  program to call. Images are not pushed.
set -eu
cd "$(dirname "$0")/../.."
tag=${1:-dev}
prefix=${2:-}
engine=${ENGINE:-docker}
command -v "$engine" >/dev/null || { echo "build.sh: no $engine here; set ENGINE" >&2; exit 2; }

# build NAME DOCKERFILE WORD...
build() {
	name=$1 file=$2
	shift 2
	echo "image: ${prefix}seatrial/$name:$tag"
	"$engine" build -f "deploy/images/$file" "$@" -t "${prefix}seatrial/$name:$tag" .
}

for c in services/cmd/api services/cmd/worker services/cmd/nats-exporter loadgen/cmd/loadgen verifier/cmd/seatrial; do
	build "${c##*/}" service.Dockerfile --build-arg "COMMAND=$c" --build-arg "VERSION=$tag"
done
build nats nats.Dockerfile
build valkey valkey.Dockerfile
build valkey-exporter valkey-exporter.Dockerfile
