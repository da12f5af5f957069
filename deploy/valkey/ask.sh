# shellcheck shell=sh
# ask holds the questions that starting Valkeys and sentinels put to one another. No
# question takes longer than two seconds; no answer is "silent", not an error.
#
# It reads PEERS (valkey-0=HOST,valkey-1=HOST,...), VALKEY_PORT, SENTINEL_PORT, MASTER_NAME and,
# optionally, VALKEY_CLI.

# peers prints "POD HOST" a line.
peers() { echo "$PEERS" | tr ',' '\n' | sed -n 's/^ *\([^= ]*\)=\([^ ]*\) *$/\1 \2/p'; }

# host POD prints its address; pod HOST is the way back.
host() { peers | awk -v pod="$1" '$1 == pod { print $2 }'; }
pod() { peers | awk -v host="$1" '$2 == host { print $1 }'; }

# cli HOST PORT WORD... : a bound on the connection, and one on the answer.
cli() {
	_host=$1 _port=$2
	shift 2
	timeout 2 "${VALKEY_CLI:-valkey-cli}" -t 1 -h "$_host" -p "$_port" "$@" 2>/dev/null
}

# ask_sentinel POD HOST prints a "sentinel" fact as decide.sh wants it.
ask_sentinel() {
	cli "$2" "$SENTINEL_PORT" SENTINEL MASTER "$MASTER_NAME" | awk -v pod="$1" -v peers="$PEERS" '
		/^ERR No such master/ { none = 1 }
		NR % 2 { key = $0; next }
		{ is[key] = $0 }
		END {
			n = split(peers, p, ",")
			for (i = 1; i <= n; i++) { split(p[i], kv, "="); name[kv[2]] = kv[1] }
			if (none) print "sentinel", pod, "none"
			else if (is["ip"] in name) print "sentinel", pod, "names", is["config-epoch"] + 0, name[is["ip"]]
			else print "sentinel", pod, "silent"
		}'
}

# ask_valkey POD HOST prints a "valkey" fact.
ask_valkey() {
	cli "$2" "$VALKEY_PORT" INFO replication | awk -F: -v pod="$1" '
		{ sub(/\r$/, "") }
		$1 == "role" { role = $2 }
		$1 == "slave_priority" { priority = $2 }
		$1 == "slave_repl_offset" { offset = $2 }
		END {
			if (role == "master") print "valkey", pod, "master"
			else if (role == "slave") printf "valkey %s slave %d %.0f\n", pod, priority, offset
			else print "valkey", pod, "silent"
		}'
}

# survey ME prints all facts; everyone is asked at once. Six scripts do this again and again while the processors
# have most to do, and nearly all that it costs is the start of programs: it starts none that it can do without.
survey() {
	for _peer in $(echo "$PEERS" | tr -d ' ' | tr ',' ' '); do
		ask_sentinel "${_peer%%=*}" "${_peer#*=}" &
		[ "${_peer%%=*}" = "$1" ] || ask_valkey "${_peer%%=*}" "${_peer#*=}" &
	done
	wait
}

# need NAME... ends the script if a variable is not set, and names all that miss.
need() {
	_missing=""
	for _v in "$@"; do
		eval "[ -n \"\${$_v:-}\" ]" || _missing="$_missing $_v"
	done
	[ -z "$_missing" ] || { echo "$0: not set:$_missing" >&2; exit 2; }
}
