# shellcheck shell=sh
# How a program is built from a pinned Go module, for scripts that source this. What a
# module would build is told by its go.mod and go.sum, so a program is built again only
# when one of these, the Go version, this file or the caller's words have changed.
#
# Whoever sources it has set $modules (where the modules' folders are), $deps (whose
# bin and stamps it fills) and defined say and die.

command -v go >/dev/null || die "no go on the PATH; Go 1.26 or later is needed"
go=$(go env GOVERSION GOARCH | paste -sd' ' -)

# The committed go.mod and go.sum decide, whatever this machine's Go settings say.
GOFLAGS="-mod=readonly -buildvcs=false"
GOWORK=off
CGO_ENABLED=0
export GOFLAGS GOWORK CGO_ENABLED

# go_files prints what tells a build in this folder: the pins, and code of ours beside them.
go_files() { find . -type f ! -name '*_test.go' ! -name '*.md' | LC_ALL=C sort; }

# module_version PACKAGE [TAGS] prints "VERSION FOLDER" of the module that holds the package.
module_version() {
	go list -tags "${2:-}" -f '{{with .Module}}{{if .Replace}}{{.Replace.Version}} {{.Replace.Dir}}{{else}}{{.Version}} {{.Dir}}{{end}}{{end}}' "$1" 2>"$deps/stamps/module.log" ||
		cat "$deps/stamps/module.log" >&2
}

# build FOLDER NAME PACKAGE [VARIABLES] [TAGS]
#
# The variables are what the program prints as its version: a module build would leave
# them empty, and evidence must name what ran. Each is NAME, set to the version of the
# module, or NAME=VALUE. $link_flags, if set, are further flags of the linker.
build() {
	folder=$1 name=$2 package=$3 variables=${4:-} tags=${5:-}
	cd "$modules/$folder" || die "$name: there is no folder $modules/$folder"
	pin=$({ printf '%s %s %s\n' "$go" "$*" "${link_flags:-}"; go_files | xargs cat "$(go env GOMOD)" "$go_sh"; } | sha256sum | cut -d' ' -f1)
	if [ -x "$deps/bin/$name" ] && [ "$(cat "$deps/stamps/$name" 2>/dev/null)" = "$pin" ]; then
		say "$name: is there"
		return
	fi
	say "$name: builds $package"
	start=$(date +%s)
	module=$(module_version "$package" "$tags")
	[ -n "$module" ] ||
		die "$name: the module in $folder could not be loaded; is there a network, or a Go module proxy in GOPROXY?"
	version=$(cat "${module#* }/VERSION" 2>/dev/null || echo "${module%% *}")
	flags="-s -w ${link_flags:-}"
	for v in $variables; do
		case $v in *=*) ;; *) v=$v=$version ;; esac
		flags="$flags -X $v"
	done
	log=$deps/stamps/$name.log
	# The compiler is quicker when it collects its garbage less often.
	GOGC=${GOGC:-400} go build -tags "$tags" -ldflags "$flags" -o "$deps/bin/.$name.new" "$package" >"$log" 2>&1 ||
		{ cat "$log" >&2; die "$name: the build of $package $version broke"; }
	mv -f "$deps/bin/.$name.new" "$deps/bin/$name"
	echo "$pin" >"$deps/stamps/$name"
	say "$name: ${version:-of this checkout} is ready after $(($(date +%s) - start)) s"
}
