#!/bin/sh
# Builds the testbed's servers, and the checks' staticcheck, from pinned modules:
#
#   deploy/deps/servers.sh DEPS_DIR
#
# puts nats-server, prometheus, promtool, alertmanager, amtool, valkey-exporter and
# staticcheck into DEPS_DIR/bin. What a module would build is told by its go.mod and
# go.sum, so a binary is built again only when one of these, this script or the Go
# version has changed.
set -eu

say() { echo "deps: $*"; }
die() { echo "deps: error: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "usage: servers.sh DEPS_DIR"
command -v go >/dev/null || die "no go on the PATH; Go 1.26 or later is needed"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/bin" "$1/stamps"
deps=$(cd "$1" && pwd)
go=$(go env GOVERSION GOARCH | paste -sd' ' -)

# The committed go.mod and go.sum decide, whatever this machine's Go settings say.
GOFLAGS="-mod=readonly -buildvcs=false"
GOWORK=off
CGO_ENABLED=0
export GOFLAGS GOWORK CGO_ENABLED

# build FOLDER NAME PACKAGE VERSION_VARIABLE [TAGS]
#
# The variable is what the program prints for --version: a module build would leave it
# empty, and evidence must name what ran.
build() {
	folder=$1 name=$2 package=$3 variable=$4 tags=${5:-}
	cd "$here/$folder"
	pin=$(printf '%s %s\n' "$go" "$*" | cat - go.mod go.sum "$here/servers.sh" | sha256sum | cut -d' ' -f1)
	if [ -x "$deps/bin/$name" ] && [ "$(cat "$deps/stamps/$name" 2>/dev/null)" = "$pin" ]; then
		say "$name: is there"
		return
	fi
	say "$name: builds $package"
	start=$(date +%s)
	module=$(go list -tags "$tags" -f '{{.Module.Version}} {{.Module.Dir}}' "$package" 2>"$deps/stamps/$name.log") ||
		cat "$deps/stamps/$name.log" >&2
	[ -n "$module" ] ||
		die "$name: the module in $folder could not be loaded; is there a network, or a Go module proxy in GOPROXY?"
	version=$(cat "${module#* }/VERSION" 2>/dev/null || echo "${module%% *}")
	log=$deps/stamps/$name.log
	go build -tags "$tags" -ldflags "-s -w ${variable:+-X $variable=$version}" -o "$deps/bin/.$name.new" "$package" >"$log" 2>&1 ||
		{ cat "$log" >&2; die "$name: the build of $package $version broke"; }
	mv -f "$deps/bin/.$name.new" "$deps/bin/$name"
	echo "$pin" >"$deps/stamps/$name"
	say "$name: $version is ready after $(($(date +%s) - start)) s"
}

common=github.com/prometheus/common/version.Version
# Prometheus needs none of its cloud discoveries here; without them it builds in a fraction of the time.
build ../servers/nats nats-server github.com/nats-io/nats-server/v2 ""
build ../servers/valkey-exporter valkey-exporter github.com/oliver006/redis_exporter main.BuildVersion
build ../servers/prometheus promtool github.com/prometheus/prometheus/cmd/promtool $common remove_all_sd
build ../servers/prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus $common remove_all_sd
build ../servers/alertmanager alertmanager github.com/prometheus/alertmanager/cmd/alertmanager $common
build ../servers/alertmanager amtool github.com/prometheus/alertmanager/cmd/amtool $common
build staticcheck staticcheck honnef.co/go/tools/cmd/staticcheck ""
