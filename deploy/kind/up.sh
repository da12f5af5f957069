#!/bin/sh
# Makes a cluster in Docker with everything on it, or brings the one that is there up to date:
#
#   deploy/kind/up.sh        (make kind-up)
#
# Needs docker, kind (0.27 or later), helm and kubectl, and to be told where three charts come
# from: CHAOS_MESH_CHARTS, PROMETHEUS_CHARTS, METRICS_SERVER_CHARTS (deploy/platform/README.md).
# deploy/kind/down.sh takes it away again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

cluster=seatrial
context=kind-$cluster
# What deploy/images/build.sh builds.
images="api worker nats-exporter loadgen seatrial nats valkey valkey-exporter"

say() { echo "kind: $*"; }
die() { echo "kind: error: $*" >&2; exit 2; }

need() { command -v "$1" >/dev/null || die "no $1 on the PATH: $2"; }
need docker "kind's nodes are containers. Without Docker, on Linux, use make cluster-up"
need kind "it makes the cluster"
need helm "it installs the charts"
need kubectl "it applies what is in no chart"
docker info >/dev/null 2>&1 || die "docker is there, but its engine does not answer (docker info)"
version=$(kind version -q)
# Kubernetes 1.32 and a network that enforces policies.
printf '0.27.0\n%s\n' "${version#v}" | sort -CV || die "kind is $version, want 0.27.0 or later"
for variable in CHAOS_MESH_CHARTS PROMETHEUS_CHARTS METRICS_SERVER_CHARTS; do
	eval "[ -n \"\${$variable:-}\" ]" || die "set $variable to the chart repository's URL, or to a folder with the chart; see deploy/platform/README.md"
done

if kind get clusters 2>/dev/null | grep -qx "$cluster"; then
	say "cluster $cluster is there"
else
	kind create cluster --config "$here/kind.yaml" --wait 5m
fi

deploy/images/build.sh dev
names=
for image in $images; do names="$names seatrial/$image:dev"; done
# shellcheck disable=SC2086 # a list
kind load docker-image --name "$cluster" $names

deploy/platform/install.sh --context "$context" metrics-server prometheus chaos-mesh

# chart RELEASE NAMESPACE [VALUES]
chart() {
	say "chart $1"
	helm --kube-context "$context" upgrade --install "$1" "deploy/charts/$1" --namespace "$2" ${3:+--values "$3"} --wait --timeout 10m
}
chart namespaces default
chart seatrial seatrial "$here/seatrial.yaml"
chart verifier seatrial-verifier "$here/verifier.yaml"

cat <<TEXT
kind: ready. Try:
  helm --kube-context $context test seatrial --namespace seatrial
  make build && bin/seatrial run --target kubernetes --context $context
TEXT
