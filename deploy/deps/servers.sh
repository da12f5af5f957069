#!/bin/sh
# Builds the testbed's servers, and the checks' staticcheck, from pinned modules:
#
#   deploy/deps/servers.sh DEPS_DIR
#
# puts nats-server, prometheus, promtool, alertmanager, amtool, valkey-exporter and
# staticcheck into DEPS_DIR/bin, each once (see go.sh).
set -eu

say() { echo "deps: $*"; }
die() { echo "deps: error: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "usage: servers.sh DEPS_DIR"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/bin" "$1/stamps"
deps=$(cd "$1" && pwd)
modules=$here/../servers
go_sh=$here/go.sh
# shellcheck source=deploy/deps/go.sh
. "$go_sh"

common=github.com/prometheus/common/version.Version
# Prometheus needs none of its cloud discoveries here; without them it builds in a fraction of the time.
build nats nats-server github.com/nats-io/nats-server/v2
build valkey-exporter valkey-exporter github.com/oliver006/redis_exporter main.BuildVersion
build prometheus promtool github.com/prometheus/prometheus/cmd/promtool $common remove_all_sd
build prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus $common remove_all_sd
build alertmanager alertmanager github.com/prometheus/alertmanager/cmd/alertmanager $common
build alertmanager amtool github.com/prometheus/alertmanager/cmd/amtool $common
build ../deps/staticcheck staticcheck honnef.co/go/tools/cmd/staticcheck
