#!/bin/sh
# Makes a Debian root from packages of this machine's own mirror:
#
#   deploy/cluster/deps/root.sh DEPS_DIR
#
# leaves it in DEPS_DIR/cluster/root: what the node runs in, and the lowest layer of
# the images chaos-daemon and valkey. Packages are unpacked, none of their scripts
# runs, no service starts, and what only a person at it would read is left out.
# Links and lists that those scripts would have made are made here.
set -eu

# The node's runtime and network, what Chaos Mesh's daemon calls, and a shell with
# its tools. Versions are this release's; Valkey's may be of its backports.
packages="base-files base-passwd bash busybox coreutils dash debianutils diffutils findutils grep
	gzip hostname libc-bin mawk netbase sed tar
	containerd crun containernetworking-plugins
	conntrack ebtables ethtool ipset iproute2 iptables kmod mount nftables procps socat util-linux
	ca-certificates stress-ng"
valkey="valkey-server valkey-tools valkey-sentinel"
valkey_major=8
# Needed by scripts of packages only, which do not run, or by what draws.
without="adduser cdebconf debconf debconf-2.0 dpkg init-system-helpers install-info
	libcap2-bin libegl-mesa0 libfile-find-rule-perl libgdbm-compat4 libgdbm6 libnumber-compare-perl
	libperl5.36 libtext-glob-perl libx11-6 libx11-data libx11-xcb1 login lsb-base openssl passwd perl
	perl-base perl-modules-5.36 readline-common sensible-utils sysvinit-utils usrmerge util-linux-extra"
# What must start in the root. (crun starts only where /proc is mounted; its libraries are looked at with all others.)
probes="containerd --version|nft --version|iptables --version|iptables-legacy --version|
	ipset --version|ip -V|tc -V|conntrack --version|ethtool --version|socat -V|stress-ng --version|
	nsenter --version|mount --version|modprobe --version|awk -W version|ebtables-nft --version|ebtables-legacy --version|
	pgrep --version|busybox true|valkey-server --version|valkey-cli --version|valkey-sentinel --version|bash --version"

say() { echo "cluster-deps: $*"; }
die() { echo "cluster-deps: error: root: $*" >&2; exit 1; }

[ $# -eq 1 ] || die "usage: root.sh DEPS_DIR"
[ "$(id -u)" = 0 ] || die "needs root: the files in it belong to root"
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/cluster/stamps"
deps=$(cd "$1/cluster" && pwd)
apt=$deps/root.apt
new=$deps/root.new
stamp=$deps/stamps/root
# shellcheck source=deploy/deps/apt.sh
. "$here/../../deps/apt.sh"

# unpack resolves everything against an empty machine and unpacks it.
unpack() {
	: >"$deps/stamps/none"
	apt_update "$deps/stamps/none"
	version=$(apt_candidate valkey-server "$valkey_major") || exit 1
	pins=""
	for p in $valkey; do pins="$pins $p=$version"; done
	# shellcheck disable=SC2086
	all=$(apt_resolve $packages $pins) || die "the packages could not be resolved"
	# shellcheck disable=SC2086
	list=$(echo "$all" | awk -F= -v without="$without" '
		BEGIN { n = split(without, w, /[ \t\n]+/); for (i = 1; i <= n; i++) skip[w[i]] }
		!($1 in skip)' | sort)
	say "root: unpacks $(echo "$list" | wc -l) packages"
	# shellcheck disable=SC2086
	apt_unpack "$new" $list
	echo "$list" >"$deps/stamps/root.packages"
}

# merge makes bin, sbin and lib one with those of usr, as Debian's installer does.
merge() {
	for d in bin sbin lib lib32 lib64 libx32; do
		[ -d "$new/$d" ] && [ ! -L "$new/$d" ] || continue
		mkdir -p "$new/usr/$d"
		cp -a --remove-destination "$new/$d/." "$new/usr/$d/"
		rm -rf "${new:?}/$d"
		ln -s "usr/$d" "$new/$d"
	done
}

# trim takes out what nothing reads here.
trim() {
	cd "$new"
	rm -rf usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/lintian usr/share/bash-completion \
		usr/share/bug usr/share/doc-base usr/share/zsh usr/share/fish usr/share/menu usr/share/pixmaps \
		usr/share/applications usr/share/stress-ng usr/lib/systemd usr/lib/udev usr/lib/modprobe.d usr/lib/init etc/init.d \
		etc/cron.d etc/cron.daily etc/logrotate.d etc/default var/cache/* var/lib/systemd usr/lib/tmpfiles.d \
		usr/lib/sysusers.d usr/include usr/games usr/share/initramfs-tools
	rm -rf usr/lib/*-linux-gnu/gconv
	cd "$here"
}

# alternative LINK TARGET is what update-alternatives would have chosen.
alternative() {
	mkdir -p "$new/etc/alternatives" "$new/$(dirname "$1")"
	ln -sf "$2" "$new/etc/alternatives/$(basename "$1")"
	ln -sf "/etc/alternatives/$(basename "$1")" "$new/$1"
}

# finish does what the packages' scripts would have done.
finish() {
	for file in passwd group; do cp "$new/usr/share/base-passwd/$file.master" "$new/etc/$file"; done
	cp "$new/usr/share/libc-bin/nsswitch.conf" "$new/etc/nsswitch.conf"
	alternative usr/bin/awk /usr/bin/mawk
	for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
		alternative "usr/sbin/$name" "/usr/sbin/${name%%-*}-nft${name#"${name%%-*}"}"
	done
	for name in ebtables ebtables-save ebtables-restore; do
		alternative "usr/sbin/$name" "/usr/sbin/${name%%-*}-nft${name#"${name%%-*}"}"
	done
	mkdir -p "$new/etc/ssl/certs" "$new/root" "$new/tmp" "$new/run" "$new/proc" "$new/sys" "$new/dev"
	find "$new/usr/share/ca-certificates" -name '*.crt' | sort | xargs cat >"$new/etc/ssl/certs/ca-certificates.crt"
	chmod 1777 "$new/tmp" "$new/var/tmp"
	ldconfig -r "$new"
	rm -rf "$new/var/cache/ldconfig"
}

# probe starts every program that others will call, in the root.
probe() {
	echo "$probes" | tr '|' '\n' | while read -r line; do
		[ -n "$line" ] || continue
		# shellcheck disable=SC2086
		PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$new" $line </dev/null >"$deps/stamps/root.log" 2>&1 ||
			{ cat "$deps/stamps/root.log" >&2; die "\"$line\" does not start in it"; }
	done
	# And what they need beside it must be there, for the programs that nobody named as well.
	# shellcheck disable=SC2016 # expanded inside
	chroot "$new" /bin/sh -c 'for f in /usr/bin/* /usr/sbin/* /usr/lib/cni/*; do ldd "$f" 2>/dev/null | sed -n "s|not found|not found, for $f|p"; done' |
		grep 'not found' && die "libraries are missing in it"
	[ -x "$new/usr/lib/cni/ptp" ] || die "it has no usr/lib/cni/ptp"
}

pin=$(apt_release | cat - "$here/root.sh" "$here/../../deps/apt.sh" | sha256sum | cut -d' ' -f1)
if [ -x "$deps/root/usr/bin/containerd" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$pin" ]; then
	say "root: is there"
	exit 0
fi
start=$(date +%s)
rm -rf "$new" "$stamp"
mkdir -p "$new"
unpack
merge
trim
finish
probe
rm -rf "$deps/root" "$apt" "$deps/stamps/none" "$deps/stamps/root.log"
mv "$new" "$deps/root"
echo "$pin" >"$stamp"
say "root: $(apt_release), $(wc -l <"$deps/stamps/root.packages") packages, $(du -sm "$deps/root" | cut -f1) MB, is ready after $(($(date +%s) - start)) s"
