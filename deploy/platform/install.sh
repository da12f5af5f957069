#!/bin/sh
# Puts onto a cluster what the testbed needs beside its own charts:
#
#   deploy/platform/install.sh [--context NAME] PART...
#
#   chaos-mesh       Chaos Mesh                              CHAOS_MESH_CHARTS
#   prometheus       Prometheus operator, Prometheus,
#                    Alertmanager (kube-prometheus-stack)    PROMETHEUS_CHARTS
#   metrics-server   metrics-server                          METRICS_SERVER_CHARTS
#
# The variable says where the part's chart comes from: the URL of a chart repository
# (https://...), of a registry's folder (oci://...), or a folder with the chart NAME or
# its archive NAME-VERSION.tgz. Versions are pinned below. Running it again changes nothing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

say() { echo "platform: $*"; }
die() { echo "platform: error: $*" >&2; exit 2; }

context=
[ "${1:-}" != --context ] || {
	[ $# -ge 2 ] || die "--context wants a name"
	context=$2
	shift 2
}
[ $# -gt 0 ] || die "usage: install.sh [--context NAME] PART... (chaos-mesh, prometheus, metrics-server)"
for program in helm kubectl; do
	command -v "$program" >/dev/null || die "no $program on the PATH"
done

# source_of PART VARIABLE says where the part's chart is, or what is missing.
source_of() {
	eval "source=\${$2:-}"
	[ -n "$source" ] || die "$1: set $2 to its chart repository's URL (https:// or oci://), or to a folder with its chart; $here/README.md says more"
}

k() { kubectl ${context:+--context "$context"} "$@"; }

# install RELEASE CHART VERSION NAMESPACE VALUES, from $source
install() {
	release=$1 chart=$2 version=$3 namespace=$4 values=$5
	say "$release: $chart $version into $namespace"
	case $source in
	http://* | https://*) set -- "$chart" --repo "$source" --version "$version" ;;
	oci://*) set -- "${source%/}/$chart" --version "$version" ;;
	*)
		if [ -f "$source/$chart-$version.tgz" ]; then
			set -- "$source/$chart-$version.tgz"
		elif [ -f "$source/$chart/Chart.yaml" ]; then
			set -- "$source/$chart"
		else
			die "$source has neither $chart-$version.tgz nor $chart/Chart.yaml"
		fi
		;;
	esac
	helm ${context:+--kube-context "$context"} upgrade --install "$release" "$@" \
		--namespace "$namespace" --values "$here/$values" --wait --timeout 10m
}

# First all complaints, then the first change.
for part; do
	case $part in
	chaos-mesh) source_of "$part" CHAOS_MESH_CHARTS ;;
	prometheus) source_of "$part" PROMETHEUS_CHARTS ;;
	metrics-server) source_of "$part" METRICS_SERVER_CHARTS ;;
	*) die "no part is called $part; there are chaos-mesh, prometheus and metrics-server" ;;
	esac
done

k apply --server-side -f "$here/namespaces.yaml"
for part; do
	case $part in
	chaos-mesh)
		source_of "$part" CHAOS_MESH_CHARTS
		install chaos-mesh chaos-mesh 2.8.4 chaos-mesh chaos-mesh.yaml
		;;
	prometheus)
		source_of "$part" PROMETHEUS_CHARTS
		k create secret generic alertmanager-seatrial --namespace monitoring --dry-run=client --output=yaml \
			--from-file="alertmanager.yaml=$here/../rules/alertmanager.yaml" | k apply --server-side -f -
		install prometheus kube-prometheus-stack 77.11.1 monitoring prometheus.yaml
		;;
	metrics-server)
		source_of "$part" METRICS_SERVER_CHARTS
		install metrics-server metrics-server 3.13.1 kube-system metrics-server.yaml
		;;
	esac
done
