# shellcheck shell=sh
# An apt of its own in a private folder, for scripts that source this: nothing is
# installed, and nothing of the machine changes. The mirror, its key, proxies and
# credentials are taken from the machine's own apt configuration.
#
# Whoever sources it has set $apt (the private folder; it may be removed when done)
# and defined die.

# apt_stanzas prints the machine's archive entries as "URI|suites|components|options",
# out of deb822 .sources files and one-line .list files alike.
apt_stanzas() {
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

# apt_release prints the code name of the machine's release.
apt_release() {
	# shellcheck disable=SC1091
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	[ -n "$codename" ] || die "/etc/os-release names no VERSION_CODENAME, so no suite is known"
	echo "$codename"
}

# apt_sources keeps the entries of this very release and adds its backports.
apt_sources() {
	codename=$(apt_release)
	apt_stanzas | while IFS='|' read -r uri suites comps opts; do
		case " $suites " in *" $codename "*) ;; *) continue ;; esac
		[ -z "$opts" ] || opts="[$opts] "
		for suite in "$codename" "$codename-backports"; do echo "deb $opts$uri $suite $comps"; done
	done | sort -u >"$apt/sources.list"
	[ -s "$apt/sources.list" ] || die "no entry for \"$codename\" in /etc/apt/sources.list or /etc/apt/sources.list.d"
}

# apt_config STATUS keeps how this machine fetches (proxies, checks) and nothing of its
# hooks: those would touch the machine's own cache. STATUS is the list of what counts as
# installed: the machine's, or an empty one for a root of one's own.
apt_config() {
	apt-config dump | grep -i '^Acquire::' | grep -vi '^Acquire::IndexTargets' >"$apt/apt.conf" || :
	mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$apt/parts" "$apt/debs"
	cat >>"$apt/apt.conf" <<-CONF
		Dir::Etc::main "/dev/null";
		Dir::Etc::parts "$apt/parts";
		Dir::Etc::sourcelist "$apt/sources.list";
		Dir::Etc::sourceparts "$apt/parts";
		Dir::State "$apt/state";
		Dir::State::status "$1";
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

# apt_update [STATUS] makes the folder anew and reads the lists of this machine's mirror.
apt_update() {
	for c in apt-get apt-cache apt-config dpkg-deb dpkg; do
		command -v "$c" >/dev/null || die "no $c here"
	done
	rm -rf "$apt"
	mkdir -p "$apt"
	apt_sources
	apt_config "${1:-/var/lib/dpkg/status}"
	apt-get -qq update >"$apt/log" 2>&1 || { cat "$apt/log" >&2; die "the package lists could not be read"; }
}

# apt_candidate PACKAGE MAJOR prints the newest version of PACKAGE from MAJOR on.
apt_candidate() {
	version=$(apt-cache madison "$1" | awk -F'|' '{ gsub(/ /, "", $2); print $2 }' |
		sort -u | while read -r v; do
		dpkg --compare-versions "$v" ge "$2" && echo "$v"
	done | sort -V | tail -1)
	# apt-get calls it a warning when a list cannot be fetched, since old ones may do; here are none.
	if [ -z "$version" ] && grep -q '^[WE]: Failed' "$apt/log"; then
		cat "$apt/log" >&2
		die "the package lists could not be fetched; is there a network, or a proxy to set in /etc/apt/apt.conf.d?"
	fi
	[ -n "$version" ] || die "neither this release nor its backports has $1 >= $2"
	echo "$version"
}

# apt_resolve NAME[=VERSION]... prints name=version of each and of all that it depends on.
apt_resolve() {
	apt-get -qq -s --no-install-recommends install "$@" |
		sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\{0,1\}(\([^ ]*\) .*/\1=\3/p'
}

# apt_unpack FOLDER NAME=VERSION... unpacks the packages into FOLDER. Their scripts do not run.
apt_unpack() {
	folder=$1
	shift
	(cd "$apt/debs" && apt-get -qq download "$@" >"$apt/log" 2>&1) || { cat "$apt/log" >&2; die "the packages could not be downloaded"; }
	for d in "$apt"/debs/*.deb; do dpkg-deb -x "$d" "$folder" || die "$d could not be unpacked"; done
}
