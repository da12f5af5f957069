#!/bin/sh
# Unpacks the distribution's Valkey (8 or later) into a folder of the checkout:
# nothing is installed, no service is started, nothing outside the folder changes.
#
#   deploy/deps/valkey.sh DEPS_DIR
#
# leaves DEPS_DIR/valkey/usr/bin/valkey-{server,sentinel,cli,benchmark}, the
# shared libraries that this machine lacks beside them, and a wrapper for each in
# DEPS_DIR/bin. The mirror, its key, proxies and credentials are taken from the
# machine's own apt configuration; a release that has no Valkey 8 of its own is
# asked for the one in its backports.
set -eu

need_major=8
programs="valkey-server valkey-sentinel valkey-cli valkey-benchmark"
packages="valkey-tools valkey-server valkey-sentinel"

say() { echo "deps: $*"; }
die() { echo "deps: error: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "usage: valkey.sh DEPS_DIR"
mkdir -p "$1/bin"
deps=$(cd "$1" && pwd)
root=$deps/valkey
apt=$deps/apt
stamp=$root/VERSION

# major prints the major version a valkey-server binary (or wrapper) reports.
major() { "$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9]*\)\..*/\1/p'; }

# wrapper NAME REAL [LIBRARY_PATH] writes DEPS_DIR/bin/NAME. The real path keeps its
# name, because one binary serves as server or sentinel by the name it is called.
# The checkout may be moved: an own binary is found relative to the wrapper.
wrapper() {
	tmp=$deps/bin/.$1.$$
	{
		echo '#!/bin/sh'
		# shellcheck disable=SC2016 # expanded when the wrapper runs
		[ $# -lt 3 ] || {
			echo 'here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)'
			echo "LD_LIBRARY_PATH=\"$3\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}\""
			echo 'export LD_LIBRARY_PATH'
		}
		echo "exec \"$2\" \"\$@\""
	} >"$tmp"
	chmod 755 "$tmp"
	mv -f "$tmp" "$deps/bin/$1"
}

ready() {
	[ -s "$stamp" ] || return 1
	for p in $programs; do [ -x "$deps/bin/$p" ] || return 1; done
	now=$(major "$deps/bin/valkey-server")
	[ "${now:-0}" -ge $need_major ]
}

# from_path uses a Valkey that is installed already.
from_path() {
	for p in $programs; do
		found=$(PATH=$(echo "$PATH" | tr ':' '\n' | grep -vxF "$deps/bin" | paste -sd: -) command -v "$p") || return 1
		[ "$p" != valkey-server ] || [ "$(major "$found")" -ge $need_major ] 2>/dev/null || return 1
	done
	mkdir -p "$root/usr/bin"
	for p in $programs; do
		found=$(PATH=$(echo "$PATH" | tr ':' '\n' | grep -vxF "$deps/bin" | paste -sd: -) command -v "$p")
		ln -sf "$found" "$root/usr/bin/$p"
		wrapper "$p" "$found"
	done
	"$deps/bin/valkey-server" --version | sed 's/.* v=\([^ ]*\) .*/installed \1/' >"$stamp"
	say "valkey: uses the one that is installed: $("$deps/bin/valkey-server" --version)"
}

# stanzas prints the machine's archive entries as "URI|suites|components|options",
# out of deb822 .sources files and one-line .list files alike.
stanzas() {
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -r "$f" ] || continue
		{ cat "$f"; echo; } | awk '
			function flush() {
				if (uris != "" && types ~ /(^| )deb( |$)/ && enabled != "no") {
					n = split(uris, u, " ")
					for (i = 1; i <= n; i++) print u[i] "|" suites "|" comps "|" (key != "" ? "signed-by=" key : "")
				}
				uris = suites = comps = types = key = enabled = ""
			}
			/^#/ { next }
			/^[ \t]*$/ { flush(); next }
			{ name = tolower($1); value = $0; sub(/^[^:]*:[ \t]*/, "", value) }
			name == "types:" { types = value }
			name == "uris:" { uris = value }
			name == "suites:" { suites = value }
			name == "components:" { comps = value }
			name == "enabled:" { enabled = tolower(value) }
			name == "signed-by:" && value ~ /^\// { gsub(/ /, ",", value); key = value }'
	done
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -r "$f" ] || continue
		sed -n 's/[ \t]*#.*//; s/^deb[ \t][ \t]*//p' "$f" | awk '
			{ opts = ""
			  if ($0 ~ /^\[/) { opts = $0; sub(/^\[[ \t]*/, "", opts); sub(/[ \t]*\].*/, "", opts); sub(/^\[[^]]*\][ \t]*/, "") }
			  comps = ""; for (i = 3; i <= NF; i++) comps = comps " " $i
			  print $1 "|" $2 "|" comps "|" opts }'
	done
}

# write_sources keeps the entries of this very release and adds its backports.
write_sources() {
	# shellcheck disable=SC1091
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ -n "$codename" ] || die "valkey: /etc/os-release names no VERSION_CODENAME, so no suite is known"
	stanzas | while IFS='|' read -r uri suites comps opts; do
		case " $suites " in *" $codename "*) ;; *) continue ;; esac
		[ -z "$opts" ] || opts="[$opts] "
		for suite in "$codename" "$codename-backports"; do echo "deb $opts$uri $suite $comps"; done
	done | sort -u >"$apt/sources.list"
	[ -s "$apt/sources.list" ] || die "valkey: no entry for \"$codename\" in /etc/apt/sources.list or /etc/apt/sources.list.d"
}

# write_config keeps how this machine fetches (proxies, checks) and nothing of its hooks:
# those would touch the machine's own cache.
write_config() {
	apt-config dump | grep -i '^Acquire::' | grep -vi '^Acquire::IndexTargets' >"$apt/apt.conf" || :
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/parts" "$apt/debs"
	cat >>"$apt/apt.conf" <<-CONF
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "$apt/parts";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "$apt/parts";
		Dir::State "$apt/state";
		Dir::State::status "/var/lib/dpkg/status";
		Dir::Cache "$apt/cache";
		Dir::Log "$apt/state";
		APT::Sandbox::User "$(id -un)";
		Acquire::Languages "none";
		Acquire::Retries "3";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
	CONF
	APT_CONFIG=$apt/apt.conf
	export APT_CONFIG
}

# candidate prints the newest version of valkey-server that is new enough.
candidate() {
	apt-cache madison valkey-server | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' |
		sort -u | while read -r v; do
		dpkg --compare-versions "$v" ge "$need_major" && echo "$v"
	done | sort -V | tail -1
}

# wanted VERSION prints name=version of everything to unpack: Valkey, and the shared
# libraries that this machine does not have. Service helpers (adduser and so on) are
# not needed by something that is not installed.
wanted() {
	list=""
	for p in $packages; do list="$list $p=$1"; done
	# shellcheck disable=SC2086
	apt-get -qq -s --no-install-recommends install $list |
		sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\{0,1\}(\([^ ]*\) .*/\1=\3/p' |
		grep -E '^(valkey-|lib)'
}

from_apt() {
	for c in apt-get apt-cache apt-config dpkg-deb dpkg; do
		command -v "$c" >/dev/null || die "valkey: no $c here; install Valkey $need_major or later so that $programs are on the PATH, then run make deps again"
	done
	rm -rf "$root" "$apt/debs"
	mkdir -p "$apt" "$root"
	write_sources
	write_config
	say "valkey: reads the package lists of this machine's own mirror (private apt folder, nothing is installed)"
	apt-get -qq update >"$apt/log" 2>&1 || { cat "$apt/log" >&2; die "valkey: the package lists could not be read"; }
	version=$(candidate)
	# apt-get calls it a warning when a list cannot be fetched, since old ones may do; here are none.
	if [ -z "$version" ] && grep -q '^[WE]: Failed' "$apt/log"; then
		cat "$apt/log" >&2
		die "valkey: the package lists could not be fetched; is there a network, or a proxy to set in /etc/apt/apt.conf.d?"
	fi
	[ -n "$version" ] || die "valkey: neither this release nor its backports has valkey-server >= $need_major; install one so that it is on the PATH"
	list=$(wanted "$version") || die "valkey: the packages needed for valkey-server $version could not be resolved"
	# shellcheck disable=SC2086
	(cd "$apt/debs" && apt-get -qq download $list >"$apt/log" 2>&1) || { cat "$apt/log" >&2; die "valkey: the packages could not be downloaded"; }
	for d in "$apt"/debs/*.deb; do dpkg-deb -x "$d" "$root"; done
	triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || uname -m | sed 's/$/-linux-gnu/')
	libs="\$here/valkey/usr/lib/$triplet:\$here/valkey/lib/$triplet:\$here/valkey/usr/lib"
	for p in $programs; do
		[ -e "$root/usr/bin/$p" ] || die "valkey: the packages hold no usr/bin/$p"
		wrapper "$p" "\$here/valkey/usr/bin/$p" "$libs"
	done
	[ "$(major "$deps/bin/valkey-server")" -ge $need_major ] 2>/dev/null || { "$deps/bin/valkey-server" --version >&2 || :; die "valkey: the unpacked valkey-server does not start"; }
	printf "%s\n" "$list" | sort -r >"$stamp"
	rm -rf "$apt"
	say "valkey: unpacked $(echo "$list" | paste -sd' ' -) into .deps/valkey"
}

if ready; then
	say "valkey: $(grep -m1 "^valkey-server\|^installed" "$stamp") is there"
elif ! from_path; then
	from_apt
fi
