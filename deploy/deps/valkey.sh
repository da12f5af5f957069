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
die() { echo "deps: error: valkey: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "usage: valkey.sh DEPS_DIR"
mkdir -p "$1/bin"
deps=$(cd "$1" && pwd)
root=$deps/valkey
apt=$deps/apt
stamp=$root/VERSION
# shellcheck source=deploy/deps/apt.sh
. "$(dirname "$0")/apt.sh"

# major prints the major version a valkey-server binary (or wrapper) reports.
major() { "$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9]*\)\..*/\1/p'; }

# wrapper NAME REAL [LIBRARY_PATH] writes DEPS_DIR/bin/NAME. The real path keeps its
# name, because one binary serves as server or sentinel by the name it is called.
# The checkout may be moved: an own binary is found relative to the wrapper, which starts no program for
# that: valkey-cli is called often while a testbed starts, and has two seconds.
wrapper() {
	tmp=$deps/bin/.$1.$$
	{
		echo '#!/bin/sh'
		# shellcheck disable=SC2016 # expanded when the wrapper runs
		[ $# -lt 3 ] || {
			echo 'me=$0; [ ! -L "$me" ] || me=$(readlink -f "$me")'
			echo 'here=${me%/*}/..'
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
	! grep -q dirname "$deps/bin/valkey-cli" || return 1 # a wrapper of an earlier version
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

# wanted VERSION prints name=version of everything to unpack: Valkey, and the shared
# libraries that this machine does not have. Service helpers (adduser and so on) are
# not needed by something that is not installed.
wanted() {
	list=""
	for p in $packages; do list="$list $p=$1"; done
	# shellcheck disable=SC2086
	apt_resolve $list | grep -E '^(valkey-|lib)'
}

from_apt() {
	command -v apt-get >/dev/null || die "no apt-get here; install Valkey $need_major or later so that $programs are on the PATH, then run make deps again"
	rm -rf "$root"
	mkdir -p "$root"
	say "valkey: reads the package lists of this machine's own mirror (private apt folder, nothing is installed)"
	apt_update
	version=$(apt_candidate valkey-server "$need_major") || die "install Valkey $need_major or later so that $programs are on the PATH, then run make deps again"
	list=$(wanted "$version") || die "the packages needed for valkey-server $version could not be resolved"
	# shellcheck disable=SC2086
	apt_unpack "$root" $list
	triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || uname -m | sed 's/$/-linux-gnu/')
	libs="\$here/valkey/usr/lib/$triplet:\$here/valkey/lib/$triplet:\$here/valkey/usr/lib"
	for p in $programs; do
		[ -e "$root/usr/bin/$p" ] || die "the packages hold no usr/bin/$p"
		wrapper "$p" "\$here/valkey/usr/bin/$p" "$libs"
	done
	[ "$(major "$deps/bin/valkey-server")" -ge $need_major ] 2>/dev/null || { "$deps/bin/valkey-server" --version >&2 || :; die "the unpacked valkey-server does not start"; }
	printf "%s\n" "$list" | sort -r >"$stamp"
	rm -rf "$apt"
	say "valkey: unpacked $(echo "$list" | paste -sd' ' -) into .deps/valkey"
}

if ready; then
	say "valkey: $(grep -m1 "^valkey-server\|^installed" "$stamp") is there"
elif ! from_path; then
	from_apt
fi
