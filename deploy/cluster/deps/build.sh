#!/bin/sh
# Builds what the cluster runs from the pinned modules in deploy/cluster/modules:
#
#   deploy/cluster/deps/build.sh DEPS_DIR
#
# puts Kubernetes, etcd, CoreDNS, metrics-server, the enforcer of network policies,
# Chaos Mesh, the Prometheus operator, Prometheus, helm and our stand-ins into
# DEPS_DIR/cluster/bin, and what their modules bring to be applied (Chaos Mesh's chart, the operator's
# definitions) into DEPS_DIR/cluster/foreign. Each is made once: see deploy/deps/go.sh.
set -eu

say() { echo "cluster-deps: $*"; }
die() { echo "cluster-deps: error: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "usage: build.sh DEPS_DIR"
command -v "${CC:-gcc}" >/dev/null || die "no ${CC:-gcc} on the PATH; Chaos Mesh's daemon needs a C compiler (Debian's packages gcc and libc6-dev)"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/cluster/bin" "$1/cluster/stamps" "$1/cluster/foreign"
deps=$(cd "$1/cluster" && pwd)
modules=$here/../modules
go_sh=$here/../../deps/go.sh
# shellcheck source=deploy/deps/go.sh
. "$go_sh"

# pinned FOLDER MODULE prints the version that the folder's go.mod names.
pinned() {
	awk -v module="$2" '$1 == module && $2 ~ /^v/ { print $2; exit }' "$modules/$1/go.mod" | grep . ||
		die "$1/go.mod names no $2"
}

# foreign FOLDER PACKAGE PATH NAME [VERSION] copies PATH of the module that holds PACKAGE.
# A chart gets the version, as upstream does when it releases: in the repository it is 0.0.0.
foreign() {
	folder=$1 package=$2 path=$3 name=$4 version=${5:-}
	cd "$modules/$folder"
	pin=$({ printf '%s\n' "$*"; cat go.mod "$here/build.sh"; } | sha256sum | cut -d' ' -f1)
	stamp=$deps/stamps/foreign-$folder
	[ ! -d "$deps/foreign/$folder/$name" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$pin" ] || return 0
	module=$(module_version "$package")
	[ -d "${module#* }/$path" ] || die "the module of $package has no folder $path"
	rm -rf "${deps:?}/foreign/$folder"
	mkdir -p "$deps/foreign/$folder"
	cp -r "${module#* }/$path" "$deps/foreign/$folder/$name"
	chmod -R u+w "$deps/foreign/$folder"
	[ -z "$version" ] ||
		sed -i "s/^version: .*/version: \"${version#v}\"/; s/^appVersion: .*/appVersion: \"${version#v}\"/" "$deps/foreign/$folder/$name/Chart.yaml"
	echo "$pin" >"$stamp"
	say "$folder: $path is copied"
}

build etcd etcd go.etcd.io/etcd/server/v3

kubernetes=$(pinned kubernetes k8s.io/kubernetes)
minor=${kubernetes#v*.}
versions=""
for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	versions="$versions $p.gitVersion=$kubernetes $p.gitMajor=1 $p.gitMinor=${minor%%.*} $p.gitTreeState=clean"
done
for c in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
	build kubernetes $c k8s.io/kubernetes/cmd/$c "$versions"
done

build helm helm helm.sh/helm/v3/cmd/helm "helm.sh/helm/v3/internal/version.version helm.sh/helm/v3/internal/version.gitTreeState=clean"
build coredns coredns github.com/coredns/coredns
build metrics-server metrics-server sigs.k8s.io/metrics-server/cmd/metrics-server \
	"k8s.io/client-go/pkg/version.gitVersion=$(pinned metrics-server sigs.k8s.io/metrics-server) k8s.io/component-base/version.gitVersion=$(pinned metrics-server sigs.k8s.io/metrics-server)"

# The enforcer of network policies is built without the nftables rules that it would make at each change of a pod: the node
# has rules of its own (deploy/cluster/node), and where the kernel has no nft_queue every try is refused as a whole. The kernel
# then takes the rules' hook away again and drops what waits in the queue for a verdict: DNS questions, and five seconds each.
policies=sigs.k8s.io/kube-network-policies
foreign network-policies $policies/cmd . source
source=$deps/foreign/network-policies/source
grep -q '^	return nil // left out' "$source/pkg/networkpolicy/controller.go" ||
	sed -i 's|^func (c \*Controller) syncNFTablesRules(.*) error {$|&\n\treturn nil // left out|' "$source/pkg/networkpolicy/controller.go"
grep -q '^	return nil // left out' "$source/pkg/networkpolicy/controller.go" || die "$policies has no syncNFTablesRules that could be left out"
cp "$modules/network-policies/go.mod" "$deps/stamps/policies.mod"
cp "$modules/network-policies/go.sum" "$deps/stamps/policies.sum"
go mod edit -replace="$policies=$source" "$deps/stamps/policies.mod"
# The tag means nothing to the code: it has a program built again that was built with the rules.
(
	GOFLAGS="$GOFLAGS -modfile=$deps/stamps/policies.mod"
	build network-policies kube-network-policies $policies/cmd "" without_nftables
)

# The pinned commit is of the main branch, whose changes come after 2.8.4 (its
# CHANGELOG.md); its module's version says v0.9.1-0.DATE-COMMIT, because a Go module
# beyond version 1 would carry it in its path. So this is that commit, by Go's rule for a
# commit after 2.8.4.
mesh=$(pinned chaos-mesh github.com/chaos-mesh/chaos-mesh)
mesh=v2.8.5-0.${mesh#v*-0.}
versions="github.com/chaos-mesh/chaos-mesh/pkg/version.gitVersion=$mesh github.com/chaos-mesh/chaos-mesh/pkg/version.gitCommit=${mesh##*-}"
for c in chaos-controller-manager chaos-daemon-helper; do
	build chaos-mesh $c github.com/chaos-mesh/chaos-mesh/cmd/$c "$versions"
done
# The daemon has some C of its own. The standard library's is left out, so that everything
# else compiles to what the controller needs as well.
# Static, because it runs in the node's root, whose C library may be older than this machine's.
(
	CGO_ENABLED=1 link_flags="-linkmode external -extldflags -static"
	build chaos-mesh chaos-daemon github.com/chaos-mesh/chaos-mesh/cmd/chaos-daemon "$versions" netgo,osusergo
)

common=github.com/prometheus/common/version.Version
operator=github.com/prometheus-operator/prometheus-operator/cmd
build prometheus-operator prometheus-operator $operator/operator $common
build prometheus-operator prometheus-config-reloader $operator/prometheus-config-reloader $common
# Beside the local testbed's, one that finds its targets through the API server.
build ../../servers/prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus $common remove_all_sd,enable_kubernetes_sd

# What stands in for programs that no module brings.
for c in sandbox pause nsexec memstress; do
	build ../stand-ins $c ./$c
done

foreign prometheus-operator $operator/operator example/prometheus-operator-crd crds
foreign chaos-mesh github.com/chaos-mesh/chaos-mesh/cmd/chaos-daemon-helper helm/chaos-mesh chart "$mesh"
